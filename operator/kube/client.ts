/**
 * The API server, as the operator uses it: a few verbs on raw JSON, so that no field is lost on the way
 * through somebody's models. Expected outcomes are values (null, false); everything else throws an
 * ApiError. Nothing is tried again here: the queue does that, with backoff.
 */
import type { RequestOptions } from "node:https";
import { KubeConfig } from "@kubernetes/client-node";
import type { Logger } from "../../services/runtime/log.ts";
import { ApiConnection, type ApiRequest, type Credentials, type Lane } from "./connection.ts";
import {
  ApiError,
  classifyAnswer,
  type FieldConflict,
  fieldConflictsOf,
  isApiError,
} from "./api-error.ts";
import { Discovery } from "./discovery.ts";
import type { KubeMetrics } from "./metrics.ts";
import {
  groupPath,
  type Kind,
  KindTable,
  type KubernetesObject,
  type Ref,
  refOf,
  type ServedKind,
} from "./object.ts";

export interface ClusterOptions {
  /** Without it: $KUBECONFIG, ~/.kube/config, or the service account of the pod that this is. */
  readonly kubeconfigFile?: string | undefined;
  /** Custom resources that the program uses besides KINDS. */
  readonly customKinds?: readonly ServedKind[];
  readonly metrics?: KubeMetrics | undefined;
  readonly log?: Logger | undefined;
}

/** Nothing is asked of the API server yet. @throws Error where the kubeconfig cannot be read, or names no cluster */
export function connectCluster(options: ClusterOptions = {}): Cluster {
  let config = loadConfig(options.kubeconfigFile);
  const connection = new ApiConnection(async (afresh) => {
    if (afresh) config = loadConfig(options.kubeconfigFile);
    return readCredentials(config);
  }, options.metrics);
  const namespace = config.getContextObject(config.getCurrentContext())?.namespace ?? null;
  return new Cluster(connection, { ...options, namespace });
}

function loadConfig(file: string | undefined): KubeConfig {
  const config = new KubeConfig();
  if (file) config.loadFromFile(file);
  else config.loadFromDefault();
  if (!config.getCurrentCluster())
    throw new Error("the kubeconfig's current context has no cluster");
  return config;
}

/** Reads the CA, certificate and token files as they are now (a token file once a minute). */
async function readCredentials(config: KubeConfig): Promise<Credentials> {
  const options: RequestOptions = {};
  await config.applyToHTTPSOptions(options);
  const { server, proxyUrl } = config.getCurrentCluster()!;
  if (proxyUrl?.startsWith("socks"))
    throw new Error("a SOCKS proxy to the API server: not supported");
  const { ca, cert, key, servername, rejectUnauthorized, auth } = options;
  const basic = auth ? { authorization: `Basic ${Buffer.from(auth).toString("base64")}` } : {};
  const headers = Object.entries(options.headers ?? {}).map(([name, value]) => [
    name.toLowerCase(),
    String(value),
  ]);
  return {
    server,
    headers: { ...basic, ...Object.fromEntries(headers) },
    tls: Object.fromEntries(
      Object.entries({ ca, cert, key, servername, rejectUnauthorized }).filter(
        ([, value]) => value !== undefined && value !== null,
      ),
    ),
    ...(proxyUrl ? { proxyUrl } : {}),
  };
}

export type JsonPatchOperation =
  | { readonly op: "add" | "replace" | "test"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

export interface ListOptions {
  /** Of a namespaced kind; without it, all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Page<T> {
  readonly items: T[];
  /** What the list is as of: where a watch goes on. */
  readonly resourceVersion: string;
  /** Token of the next page; null after the last. */
  readonly next: string | null;
}

/** A line of a watch. `BOOKMARK` has nothing but a resourceVersion. */
export interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: T;
}

const PAGE_SIZE = 500;

type Settings = ClusterOptions & { readonly namespace: string | null };

export class Cluster {
  readonly #connection: ApiConnection;
  readonly #settings: Settings;
  readonly #lane: Lane;
  readonly #discovery: Discovery;
  readonly #kinds: KindTable;

  constructor(
    connection: ApiConnection,
    settings: Settings,
    lane: Lane = "api",
    discovery = new Discovery((apiVersion) => askForKinds(connection, apiVersion)),
  ) {
    this.#connection = connection;
    this.#settings = settings;
    this.#lane = lane;
    this.#discovery = discovery;
    this.#kinds = new KindTable(settings.customKinds ?? []);
  }

  /** The namespace of the kubeconfig's context: in a pod, its own. */
  get namespace(): string | null {
    return this.#settings.namespace;
  }

  /** The same verbs over connections of their own. */
  on(lane: Lane): Cluster {
    return new Cluster(this.#connection, this.#settings, lane, this.#discovery);
  }

  /** As it is now, read from etcd; null where it is not there. */
  get<T extends KubernetesObject>(ref: Ref): Promise<T | null> {
    return orNull(this.#call<T>({ method: "GET", path: this.#kinds.objectPath(ref) }));
  }

  /** All of them, page by page, with kind and apiVersion filled in. */
  async list<T extends KubernetesObject>(of: Kind, options: ListOptions = {}): Promise<T[]> {
    const items: T[] = [];
    let next: string | null = null;
    do {
      const page: Page<T> = await this.listPage<T>(of, options, next);
      items.push(...page.items);
      next = page.next;
    } while (next !== null);
    return items;
  }

  /** @param from the token of the page before; `gone` is thrown where it is too old, and the list begins anew */
  async listPage<T extends KubernetesObject>(
    of: Kind,
    { namespace, labelSelector, signal }: ListOptions,
    from: string | null,
  ): Promise<Page<T>> {
    const answer = await this.#call<{
      items: T[] | null;
      metadata: { resourceVersion: string; continue?: string };
    }>({
      method: "GET",
      path: this.#kinds.collectionPath(of, namespace),
      query: { labelSelector, limit: PAGE_SIZE, continue: from ?? undefined },
      ...(signal ? { signal } : {}),
    });
    const { apiVersion, kind } = of;
    return {
      items: (answer.items ?? []).map((item) => ({ ...item, apiVersion, kind })),
      resourceVersion: answer.metadata.resourceVersion,
      next: answer.metadata.continue || null,
    };
  }

  /**
   * What happens after a resourceVersion, until the server ends it after `timeoutSeconds`.
   * @throws ApiError: `gone` where the resourceVersion is too old; `timeout` after `idleMs` of silence
   */
  async *watch<T extends KubernetesObject>(
    of: Kind,
    { namespace, labelSelector, signal }: ListOptions,
    at: { resourceVersion: string; timeoutSeconds: number; idleMs: number },
  ): AsyncGenerator<WatchEvent<T>> {
    const request: ApiRequest = {
      method: "GET",
      path: this.#kinds.collectionPath(of, namespace),
      query: {
        watch: true,
        allowWatchBookmarks: true,
        resourceVersion: at.resourceVersion,
        timeoutSeconds: at.timeoutSeconds,
        labelSelector,
      },
      ...(signal ? { signal } : {}),
    };
    for await (const line of this.#connection.lines(this.#lane, request, at.idleMs)) {
      const event = parseLine<T>(line, request);
      if (event.type !== "ERROR") {
        yield { type: event.type, object: event.object as T };
        continue;
      }
      const { code = 500 } = event.object as { code?: number };
      throw new ApiError(
        `WATCH ${request.path}`,
        classifyAnswer(code, JSON.stringify(event.object)),
      );
    }
  }

  /**
   * Server-side apply with strict fields. It creates what is missing, unless the body has a
   * `metadata.uid`: then it only changes that very object, else `conflict`. Fields that another manager
   * owns are taken, and that is told first: to `onConflict`, the log and `ssa_conflicts_total`.
   * @param object what we want, written by hand: no status, no managedFields, no resourceVersion
   */
  async apply<T extends KubernetesObject>(
    object: T,
    options: {
      readonly manager: string;
      readonly force: true;
      readonly dryRun?: boolean;
      readonly onConflict?: (lost: readonly FieldConflict[]) => void;
    },
  ): Promise<T> {
    const { manager, dryRun = false, onConflict } = options;
    const patch = (force: boolean) => this.#apply(object, { manager, force, dryRun });
    try {
      return await patch(false);
    } catch (error) {
      const lost = fieldConflictsOf(error);
      if (lost.length === 0) throw error;
      this.#settings.metrics?.ssaConflicts.inc({ manager });
      this.#settings.log?.info({ object: refOf(object), manager, lost }, "took fields back");
      onConflict?.(lost);
      return patch(true);
    }
  }

  /**
   * Server-side apply of the status alone; the same status again changes nothing, not even the
   * resourceVersion. Null where the object is gone.
   */
  applyStatus<T extends KubernetesObject>(object: T, manager: string): Promise<T | null> {
    return orNull(this.#apply(object, { manager, force: true, subresource: "status" }));
  }

  /** Null where the object is not there. @throws ApiError `conflict` where a `test` fails */
  jsonPatch<T extends KubernetesObject>(
    ref: Ref,
    operations: readonly JsonPatchOperation[],
    { manager, subresource }: { manager?: string; subresource?: string } = {},
  ): Promise<T | null> {
    return orNull(
      this.#call<T>({
        method: "PATCH",
        path: this.#kinds.objectPath(ref, subresource),
        query: { fieldManager: manager, fieldValidation: "Strict" },
        contentType: "application/json-patch+json",
        body: operations,
      }),
    );
  }

  /** False where it was not there. Dependents go in the background. @throws ApiError `conflict` where uid or resourceVersion differ */
  async remove(
    ref: Ref,
    options: {
      readonly propagation?: "Background" | "Foreground" | "Orphan";
      readonly uid?: string | undefined;
      readonly resourceVersion?: string | undefined;
    } = {},
  ): Promise<boolean> {
    const { propagation = "Background", uid, resourceVersion } = options;
    const removed = await orNull(
      this.#call<object>({
        method: "DELETE",
        path: this.#kinds.objectPath(ref),
        body: { propagationPolicy: propagation, preconditions: { uid, resourceVersion } },
      }),
    );
    return removed !== null;
  }

  /** The object as created; null where one of this name was there. */
  async createIfAbsent<T extends KubernetesObject>(
    object: T,
    { manager }: { readonly manager: string },
  ): Promise<T | null> {
    try {
      return await this.#call<T>({
        method: "POST",
        path: this.#kinds.collectionPath(object, object.metadata.namespace),
        query: { fieldManager: manager, fieldValidation: "Strict" },
        body: object,
      });
    } catch (error) {
      if (isApiError(error, "already_exists")) return null;
      throw error;
    }
  }

  /** Writes the whole object. @throws ApiError `conflict` where its resourceVersion is not the current one */
  replace<T extends KubernetesObject>(
    object: T,
    { manager }: { readonly manager: string },
  ): Promise<T> {
    return this.#call<T>({
      method: "PUT",
      path: this.#kinds.objectPath(refOf(object)),
      query: { fieldManager: manager, fieldValidation: "Strict" },
      body: object,
    });
  }

  /** Whether the API server knows a kind, as of some minutes ago: five where it does, one where it does not. */
  serves(apiVersion: string, kind: string): Promise<boolean> {
    return this.#discovery.serves({ apiVersion, kind });
  }

  /** Ends every connection of all lanes. */
  close(): Promise<void> {
    return this.#connection.close();
  }

  #call<T>(request: ApiRequest): Promise<T> {
    return this.#connection.call<T>(this.#lane, request);
  }

  #apply<T extends KubernetesObject>(
    object: T,
    how: { manager: string; force: boolean; subresource?: string; dryRun?: boolean },
  ): Promise<T> {
    return this.#call<T>({
      method: "PATCH",
      path: this.#kinds.objectPath(refOf(object), how.subresource),
      query: {
        fieldManager: how.manager,
        fieldValidation: "Strict",
        force: how.force,
        dryRun: how.dryRun ? "All" : undefined,
      },
      contentType: "application/apply-patch+yaml", // JSON is YAML
      body: object,
    });
  }
}

async function askForKinds(connection: ApiConnection, apiVersion: string): Promise<string[]> {
  const request: ApiRequest = { method: "GET", path: groupPath(apiVersion) };
  const list = await orNull(connection.call<{ resources?: { kind: string }[] }>("api", request));
  return list?.resources?.map(({ kind }) => kind) ?? [];
}

async function orNull<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (isApiError(error, "not_found")) return null;
    throw error;
  }
}

function parseLine<T>(line: string, { path }: ApiRequest) {
  try {
    return JSON.parse(line) as { type: WatchEvent<T>["type"] | "ERROR"; object: unknown };
  } catch (error) {
    const refusal = classifyAnswer(502, `a line of the watch is not JSON: ${line.slice(0, 100)}`);
    throw new ApiError(`WATCH ${path}`, refusal, error);
  }
}
