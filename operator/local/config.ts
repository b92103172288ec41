/** The environment variables of `make up` and the commands beside it. */
import Type from "typebox";

const Port = (description: string, port: number) =>
  Type.Integer({ description, minimum: 1, maximum: 65_535, default: port });

const Flag = (description: string) => Type.Boolean({ description, default: false });

const Image = (description: string, image: string) =>
  Type.String({ description, minLength: 1, default: image });

export const LocalEnv = Type.Object({
  GAVEL_DIR: Type.String({
    description: "Folder for everything that outlives a run: data, secrets, logs.",
    minLength: 1,
    default: ".gavel",
  }),
  // Not HOST: conda and some shells export that with the name of the machine.
  LISTEN_HOST: Type.Enum(["127.0.0.1", "0.0.0.0"], {
    type: "string",
    description:
      "Address on which gateway and broadcast listen for bidders and viewers: 127.0.0.1, and ::1 if the machine has IPv6; or 0.0.0.0, and ::. 0.0.0.0 accepts connections from other machines, on these two ports only.",
    default: "127.0.0.1",
  }),
  PUBLIC_HOST: Type.String({
    description: "Host name of this machine in printed addresses and in the page.",
    pattern: "^[A-Za-z0-9.-]+$",
    default: "localhost",
  }),
  GATEWAY_PORT: Port("Port of the gateway: bids over HTTP, and the page.", 8080),
  BROADCAST_PORT: Port("Port of broadcast: the WebSocket for viewers.", 8081),
  GATEWAY_INTERNAL_PORT: Port("Port for health and metrics of the gateway.", 9080),
  BROADCAST_INTERNAL_PORT: Port("Port for health and metrics of broadcast.", 9081),
  ARCHIVAL_INTERNAL_PORT: Port("Port for health and metrics of archival.", 9082),
  REPLICAS: Type.Integer({
    description:
      "How many processes of each tier `make up` starts. They share the public ports; the internal ports of the second process are 100 higher than those of the first, of the third 200 higher, and so on.",
    minimum: 1,
    maximum: 8,
    default: 1,
  }),
  REDIS_PORT: Port("Port of the redis-server that is started.", 16379),
  NATS_PORT: Port("Port of the nats-server that is started.", 14222),
  POSTGRES_PORT: Port("Port of the postgres that is started.", 15432),
  PROMETHEUS_PORT: Port("Port of the Prometheus that OBSERVE=1 starts.", 9090),
  REDIS_IMAGE: Image("Image for a redis-server in Docker.", "redis:7"),
  NATS_IMAGE: Image("Image for a nats-server in Docker.", "nats:2.10"),
  POSTGRES_IMAGE: Image("Image for a postgres in Docker.", "postgres:16"),
  BID_STRATEGY: Type.Enum(["script", "optimistic"], {
    type: "string",
    description:
      "How Redis decides bids: in a script, or in a WATCH/MULTI transaction. Both give the same answers.",
    default: "script",
  }),
  YES: Flag("Answer yes to every question: before an installation, before data is deleted."),
  OBSERVE: Flag(
    "Also start Prometheus, if it is installed: it scrapes the tiers and evaluates the alerts of dashboards/.",
  ),
  DETACH: Flag("`make up` returns when the auction is ready; the processes run in the background."),
});

export type LocalEnv = Type.Static<typeof LocalEnv>;
