/** The reflector on a server with scripted failures. */
import { writeFileSync } from "node:fs";
import { pino } from "pino";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { afterFile } from "../../services/testing/after-file.ts";
import { until } from "../../services/testing/until.ts";
import { connectCluster } from "./client.ts";
import { type AnyObject, KINDS } from "./object.ts";
import { createKubeMetrics } from "./metrics.ts";
import {
  configMap,
  type FakeApiServer,
  line,
  listOf,
  type Reply,
  startFakeApiServer,
  status,
} from "../testing/fake-api-server.ts";
import { Reflector, type ReflectorOptions } from "./reflector.ts";

const log = pino({ level: "silent" });
const FAST = { firstBackoffMs: 20, maxBackoffMs: 100, idleMs: 5_000 };

async function reflect(
  script: (server: FakeApiServer) => void,
  options: Partial<ReflectorOptions<AnyObject>> = {},
) {
  const server = await startFakeApiServer();
  script(server);
  const metrics = createKubeMetrics(new Registry());
  const cluster = connectCluster({ kubeconfigFile: server.kubeconfigFile, metrics });
  const emitted: string[] = [];
  const reflector = new Reflector<AnyObject>({
    cluster,
    kind: KINDS.ConfigMap,
    emit: (key) => emitted.push(key),
    indexLabels: ["auction"],
    log,
    metrics,
    ...options,
    timing: { ...FAST, ...options.timing },
  });
  afterFile(async () => {
    await reflector.stop();
    await cluster.close();
  });
  reflector.start();
  const restarts = async (reason: string) =>
    (await metrics.watchRestarts.get()).values.find(({ labels }) => labels.reason === reason)!
      .value;
  const watches = () => server.requests.filter(({ query }) => query.has("watch"));
  const lists = () => server.requests.filter(({ query }) => !query.has("watch"));
  const text = (name: string) =>
    (reflector.get(`default/${name}`)?.["data"] as { text?: string } | undefined)?.text;
  const missed = async () => (await metrics.missedEvents.get()).values[0]!.value;
  return { server, reflector, emitted, restarts, watches, lists, text, missed };
}

const stream = (then: "end" | "reset" | "hang", ...chunks: string[]): Reply => ({
  kind: "stream",
  chunks,
  then,
});
const modified = (name: string, resourceVersion: string, text = "") =>
  line("MODIFIED", configMap(name, resourceVersion, text));

test("it lists all pages, emits each key, then watches from the list's resourceVersion", async () => {
  const { server, reflector, emitted, watches, lists, text } = await reflect((fake) => {
    fake.onCall(listOf("10", [configMap("a", "5")], "more"), listOf("10", [configMap("b", "6")]));
    fake.onWatch(stream("hang"));
  });
  await reflector.whenSynced(60_000);
  expect(reflector.synced).toBe(true);
  expect(emitted).toEqual(["default/a", "default/b"]);
  expect(lists().map(({ query }) => query.get("continue"))).toEqual([null, "more"]);
  expect(reflector.get("default/a")).toMatchObject({ apiVersion: "v1", kind: "ConfigMap" });

  await until("a watch is open", () => watches().length === 1);
  const { query } = watches()[0]!;
  expect(query.get("resourceVersion")).toBe("10");
  expect(query.get("allowWatchBookmarks")).toBe("true");
  expect(Number(query.get("timeoutSeconds"))).toBeGreaterThanOrEqual(290);

  server.tell(modified("a", "11", "changed"));
  await until("the change is in the cache", () => text("a") === "changed");
  server.tell(line("DELETED", configMap("b", "12")));
  await until("b is deleted from the cache", () => reflector.get("default/b") === undefined);
  server.tell(line("ADDED", configMap("c", "13")));
  await until("c is in the cache", () => reflector.get("default/c"));
  expect(reflector.all().length).toBe(2);
  expect(reflector.byLabel("auction", "of-a").map(({ metadata }) => metadata.name)).toEqual(["a"]);
  expect(reflector.byLabel("auction", "of-b")).toEqual([]);
  expect(() => reflector.byLabel("other", "x")).toThrow("not indexed");
  expect(new Set(emitted)).toEqual(new Set(["default/a", "default/b", "default/c"]));
});

test("a change emits the keys of the old and of the new object", async () => {
  const { server, emitted } = await reflect(
    (fake) => {
      fake.onCall(listOf("10", [configMap("a", "5")]));
      fake.onWatch(stream("hang"));
    },
    { keysOf: ({ metadata }) => [metadata.labels!["auction"]!] },
  );
  await until("the list is emitted", () => emitted.length === 1);
  const moved = configMap("a", "11");
  moved.metadata.labels.auction = "another";
  await until("a watch is open", () => server.requests.some(({ query }) => query.has("watch")));
  server.tell(line("MODIFIED", moved));
  await until("both keys are emitted", () => emitted.length === 3);
  expect(emitted).toEqual(["of-a", "of-a", "another"]);
});

test("a connection reset within a line loses nothing: the watch resumes after the last complete line", async () => {
  const whole = modified("a", "11", "first");
  const half = modified("a", "12", "second").slice(0, 40);
  const { restarts, watches, lists, text } = await reflect((fake) => {
    fake.onCall(listOf("10", [configMap("a", "5")]));
    fake.onWatch(
      stream("reset", whole.slice(0, 30), whole.slice(30), half),
      stream("hang", modified("a", "12", "second")),
    );
  });
  await until("the second change is in the cache", () => text("a") === "second");
  expect(watches().map(({ query }) => query.get("resourceVersion"))).toEqual(["10", "11"]);
  expect(lists().length).toBe(1);
  expect(await restarts("reset")).toBe(1);
});

test("a bookmark advances the resourceVersion, and a watch that ends normally resumes at once", async () => {
  const { restarts, watches, lists, emitted } = await reflect((fake) => {
    fake.onCall(listOf("10", []));
    fake.onWatch(
      stream("end", line("BOOKMARK", { metadata: { resourceVersion: "99" } })),
      stream("hang"),
    );
  });
  await until("the next watch is open", () => watches().length === 2);
  expect(watches()[1]!.query.get("resourceVersion")).toBe("99");
  expect(lists().length).toBe(1);
  expect(emitted).toEqual([]);
  expect(await restarts("ended")).toBe(1);
});

test("an expired resourceVersion starts a new list, whether reported as HTTP status or as an event", async () => {
  const expired = { kind: "Status", code: 410, reason: "Expired", message: "too old" };
  const { restarts, reflector, emitted, watches, lists } = await reflect((fake) => {
    fake.onCall(
      listOf("10", [configMap("a", "5"), configMap("b", "6"), configMap("same", "7")]),
      listOf("20", [configMap("a", "15"), configMap("same", "7")]),
      listOf("30", [configMap("c", "25"), configMap("same", "7")]),
    );
    fake.onWatch(
      status(410, "Expired", "too old"),
      stream("hang", line("ERROR", expired)),
      stream("hang"),
    );
  });
  await until("there were three lists", () => lists().length === 3 && watches().length === 3);
  expect(
    reflector
      .all()
      .map(({ metadata }) => metadata.name)
      .sort(),
  ).toEqual(["c", "same"]);
  expect(watches()[2]!.query.get("resourceVersion")).toBe("30");
  expect(emitted.filter((key) => key === "default/same").length).toBe(1);
  expect(emitted.filter((key) => key === "default/b").length).toBe(2);
  expect(await restarts("expired")).toBe(2);
});

test("an expired continue token restarts the list", async () => {
  const { reflector, lists } = await reflect((fake) => {
    fake.onCall(
      listOf("10", [configMap("a", "5")], "more"),
      status(410, "Expired", "too old"),
      listOf("20", [configMap("b", "6")]),
    );
    fake.onWatch(stream("hang"));
  });
  await reflector.whenSynced(60_000);
  expect(lists().map(({ query }) => query.get("continue"))).toEqual([null, "more", null]);
  expect(reflector.all().map(({ metadata }) => metadata.name)).toEqual(["b"]);
});

test("a silent watch is replaced", async () => {
  const { restarts, watches, text } = await reflect(
    (fake) => {
      fake.onCall(listOf("10", [configMap("a", "5")]));
      fake.onWatch(stream("hang"), stream("hang", modified("a", "11", "after")));
    },
    { timing: { idleMs: 60 } },
  );
  await until("the next watch brought the change", () => text("a") === "after");
  expect(await restarts("idle")).toBeGreaterThanOrEqual(1);
  expect(watches().length).toBeGreaterThanOrEqual(2);
});

test("a Retry-After is respected", async () => {
  const { restarts, watches } = await reflect((fake) => {
    fake.onCall(listOf("10", []));
    fake.onWatch(status(429, "TooManyRequests", "slower", { "retry-after": "1" }), stream("hang"));
  });
  await until("the next watch is open", () => watches().length === 2);
  const [first, again] = watches();
  expect(again!.atMs - first!.atMs).toBeGreaterThan(900);
  expect(await restarts("throttled")).toBe(1);
});

test("a rejected token is read again from its file", async () => {
  const { server, restarts, watches } = await reflect((fake) => {
    fake.onCall(listOf("10", []));
    fake.onWatch(status(401, "Unauthorized", "Unauthorized"), stream("hang"));
    writeFileSync(fake.tokenFile, "old");
  });
  await until("the watch was rejected", () => watches().length === 1);
  writeFileSync(server.tokenFile, "new");
  await until("the next watch is open", () => watches().length >= 2);
  expect(watches().map(({ authorization }) => authorization)).toEqual(["Bearer old", "Bearer new"]);
  expect(await restarts("unauthorized")).toBe(1);
});

test("requests to a server that breaks every connection are repeated with a backoff", async () => {
  const { server, reflector } = await reflect((fake) => {
    fake.onCall({ kind: "reset" });
    fake.onWatch(stream("hang"));
  });
  await until("there were three attempts", () => server.requests.length >= 3);
  expect(reflector.synced).toBe(false);
  await expect(reflector.whenSynced(10)).rejects.toThrow("no list of configmaps within 10 ms");
  expect(server.requests.length).toBeLessThan(30);
  server.onCall(listOf("10", []));
  await reflector.whenSynced(60_000);
});

test("a watch that always ends at once, normally or not, does not loop without a pause", async () => {
  for (const reply of [stream("end"), status(410, "Expired", "old"), stream("end", "garbage\n")]) {
    const { watches } = await reflect((fake) => {
      fake.onCall(listOf("10", []));
      fake.onWatch(reply);
    });
    await until("there were six watches", () => watches().length >= 6);
    // The second may come at once; before each later one it waits 20 ms at least, and timers round.
    const [, second, ...later] = watches();
    expect(later.at(-1)!.atMs - second!.atMs).toBeGreaterThan(later.length * 19);
  }
});

test("a change that the watch missed is found by a list, counted and corrected", async () => {
  const { reflector, emitted, missed, restarts, text, watches } = await reflect(
    (fake) => {
      fake.onCall(
        listOf("10", [configMap("a", "5"), configMap("gone", "6"), configMap("late", "7")]),
        listOf("20", [
          configMap("a", "15", "missed"),
          configMap("new", "16"),
          configMap("late", "17"),
        ]),
      );
      fake.onWatch(stream("hang"));
    },
    { timing: { relistMs: 300, graceMs: 200 } },
  );
  await reflector.whenSynced(60_000);
  await until("the cache is corrected", () => text("a") === "missed");
  expect(reflector.get("default/gone")).toBeUndefined();
  expect(reflector.get("default/new")).toBeDefined();
  expect(await missed()).toBe(4);
  expect(emitted.filter((key) => key === "default/gone").length).toBe(2);
  await until("another watch is open", () => watches().length === 2);
  expect(watches()[1]!.query.get("resourceVersion")).toBe("20");
  expect(await restarts("missed")).toBe(1);
});

test("changes that the watch delivers during or after the list do not count as missed", async () => {
  const { server, reflector, missed, lists, text } = await reflect(
    (fake) => {
      fake.onCall(
        listOf("10", [configMap("a", "5"), configMap("b", "6")]),
        listOf("20", [configMap("a", "15", "listed"), configMap("b", "6"), configMap("c", "16")]),
      );
      fake.onWatch(stream("hang"));
    },
    { timing: { relistMs: 300, graceMs: 3_000 } },
  );
  await reflector.whenSynced(60_000);
  await until("the cache is compared", () => lists().length === 2);
  server.tell(modified("a", "21", "newer than the list"));
  server.tell(line("DELETED", configMap("b", "22")));
  server.tell(line("ADDED", configMap("c", "16")) + line("DELETED", configMap("c", "23")));
  await until("the cache is compared again", () => lists().length === 3);
  expect(await missed()).toBe(0);
  expect(text("a")).toBe("newer than the list");
  expect(reflector.get("default/c")).toBeUndefined();
});

test("a handler that throws does not end the watch", async () => {
  const { server, reflector, text } = await reflect(
    (fake) => {
      fake.onCall(listOf("10", [configMap("a", "5")]));
      fake.onWatch(stream("hang"));
    },
    {
      emit: () => {
        throw new Error("a bug");
      },
    },
  );
  await reflector.whenSynced(60_000);
  await until("a watch is open", () => server.requests.length === 2);
  server.tell(modified("a", "11", "seen"));
  await until("the next change is in the cache", () => text("a") === "seen");
});

test("a stop closes the watch's connection, and no request follows", async () => {
  const { server, reflector } = await reflect((fake) => {
    fake.onCall(listOf("10", []));
    fake.onWatch(stream("hang"));
  });
  await until("a watch is open", () => server.requests.length === 2);
  await reflector.stop();
  await until("only the keep-alive connection is open", () => server.openConnections <= 1);
  expect(server.requests.length).toBe(2);
  expect(reflector.silentMs).toBeLessThan(60_000);
});
