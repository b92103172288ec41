/** What `make up` and its companions can be told by variables. */
import Type from "typebox";

const Port = (description: string, port: number) =>
  Type.Integer({ description, minimum: 1, maximum: 65_535, default: port });

const Flag = (description: string) => Type.Boolean({ description, default: false });

const Image = (description: string, image: string) =>
  Type.String({ description, minLength: 1, default: image });

export const LocalEnv = Type.Object({
  GAVEL_DIR: Type.String({
    description: "Folder with everything that outlives a run: data, secrets, logs.",
    minLength: 1,
    default: ".gavel",
  }),
  // Not HOST: conda and some shells export that as this machine's name.
  LISTEN_HOST: Type.Enum(["127.0.0.1", "0.0.0.0"], {
    type: "string",
    description: "Address that the tiers listen on; 0.0.0.0 lets other machines in.",
    default: "127.0.0.1",
  }),
  PUBLIC_HOST: Type.String({
    description: "This machine's name in the addresses that are printed and told to the page.",
    pattern: "^[A-Za-z0-9.-]+$",
    default: "localhost",
  }),
  GATEWAY_PORT: Port("Bids over HTTP, and the page.", 8080),
  BROADCAST_PORT: Port("The viewers' WebSocket.", 8081),
  GATEWAY_INTERNAL_PORT: Port("Health and metrics of the gateway.", 9080),
  BROADCAST_INTERNAL_PORT: Port("Health and metrics of broadcast.", 9081),
  ARCHIVAL_INTERNAL_PORT: Port("Health and metrics of archival.", 9082),
  REDIS_PORT: Port("Our own redis-server.", 16379),
  NATS_PORT: Port("Our own nats-server.", 14222),
  POSTGRES_PORT: Port("Our own postgres.", 15432),
  PROMETHEUS_PORT: Port("Our own Prometheus, with OBSERVE=1.", 9090),
  REDIS_IMAGE: Image("Used where redis-server is run by Docker.", "redis:7"),
  NATS_IMAGE: Image("Used where nats-server is run by Docker.", "nats:2.10"),
  POSTGRES_IMAGE: Image("Used where postgres is run by Docker.", "postgres:16"),
  BID_STRATEGY: Type.Enum(["script", "optimistic"], {
    type: "string",
    description: "How bids are decided in Redis; both give the same answers.",
    default: "script",
  }),
  YES: Flag("Go ahead without asking: before an installation, before deleting data."),
  OBSERVE: Flag(
    "Start Prometheus, too, where it is installed: it scrapes the tiers, with the alerts of dashboards/.",
  ),
  DETACH: Flag("`make up` returns when all is ready, and all goes on in the background."),
});

export type LocalEnv = Type.Static<typeof LocalEnv>;
