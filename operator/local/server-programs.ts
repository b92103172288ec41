/** The programs of the stores, and the packages that contain them. */
import type { StoreName } from "../api/components.ts";

interface Server {
  readonly program: string;
  /** Programs that must all be installed. */
  readonly needs: readonly string[];
  readonly packages: readonly string[];
  /** The oldest version that was tested. */
  readonly oldest: string;
  /** The port of the service that the package itself starts. */
  readonly usualPort: number;
}

export const SERVERS: Readonly<Record<StoreName, Server>> = {
  redis: {
    program: "redis-server",
    needs: ["redis-server"],
    packages: ["redis-server"],
    oldest: "7.0.15",
    usualPort: 6379,
  },
  nats: {
    program: "nats-server",
    needs: ["nats-server"],
    packages: ["nats-server"],
    oldest: "2.9.10", // Debian 12's
    usualPort: 4222,
  },
  postgres: {
    program: "postgres",
    needs: ["postgres", "initdb"],
    packages: ["postgresql"],
    oldest: "15",
    usualPort: 5432,
  },
};
