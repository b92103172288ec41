/**
 * The Kubernetes API client: a few verbs on plain JSON, so that no unknown field is lost. Expected outcomes
 * are values (null, false); everything else throws an ApiError. It retries nothing: the work queue does,
 * with backoff.
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

interface ClusterOptions {
  /** Default: $KUBECONFIG, ~/.kube/config, or the service account of this pod. */
  readonly kubeconfigFile?: string | undefined;
  /** Custom resources that the program uses besides KINDS. */
  readonly customKinds?: readonly ServedKind[];
  readonly metrics?: KubeMetrics | undefined;
  readonly log?: Logger | undefined;
}

/** Sends no request yet. @throws Error if the kubeconfig cannot be read, or has no current cluster */
export function connectCluster(options: ClusterOptions = {}): Cluster {
  let config = loadConfig(options.kubeconfigFile);
  const connection = new ApiConnection(async (isRejected) => {
    if (isRejected) config = loadConfig(options.kubeconfigFile);
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

/** Reads the CA, certificate and token files anew (a token file at most once a minute). */
async function readCredentials(config: KubeConfig): Promise<Credentials> {
  const options: RequestOptions = {};
  await config.applyToHTTPSOptions(options);
  const { server, proxyUrl } = config.getCurrentCluster()!;
  if (proxyUrl?.startsWith("socks")) throw new Error("SOCKS proxies are not supported");
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

type JsonPatchOperation =
  | { readonly op: "add" | "replace" | "test"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

interface ListOptions {
  /** Default: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Page<T> {
  readonly items: T[];
  /** The version of the list: a watch continues from it. */
  readonly resourceVersion: string;
  /** Token of the next page; null after the last. */
  readonly next: string | null;
}

/** A line of a watch. A `BOOKMARK` has only a resourceVersion. */
export interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: T;
}

const PAGE_SIZE = 500;

type ClusterSettings = ClusterOptions & { readonly namespace: string | null };

export class Cluster {
  readonly #connection: ApiConnection;
  readonly #settings: ClusterSettings;
  readonly #lane: Lane;
  readonly #discovery: Discovery;
  readonly #kinds: KindTable;

  constructor(
    connection: ApiConnection,
    settings: ClusterSettings,
    lane: Lane = "api",
    discovery = new Discovery((apiVersion) => fetchKinds(connection, apiVersion)),
  ) {
    this.#connection = connection;
    this.#settings = settings;
    this.#lane = lane;
    this.#discovery = discovery;
    this.#kinds = new KindTable(settings.customKinds ?? []);
  }

  /** The namespace of the kubeconfig's context; in a pod, the pod's own. */
  get namespace(): string | null {
    return this.#settings.namespace;
  }

  /** The same client, on the connections of another lane. */
  on(lane: Lane): Cluster {
    return new Cluster(this.#connection, this.#settings, lane, this.#discovery);
  }

  /** Reads the current object; null if it does not exist. */
  get<T extends KubernetesObject>(ref: Ref): Promise<T | null> {
    return orNull(this.#call<T>({ method: "GET", path: this.#kinds.objectPath(ref) }));
  }

  /** Reads all objects, page by page, with kind and apiVersion filled in. */
  async list<T extends KubernetesObject>(kind: Kind, options: ListOptions = {}): Promise<T[]> {
    const items: T[] = [];
    let next: string | null = null;
    do {
      const page: Page<T> = await this.listPage<T>(kind, options, next);
      items.push(...page.items);
      next = page.next;
    } while (next !== null);
    return items;
  }

  /** @param pageToken `next` of the page before. @throws ApiError `gone` if it is too old: the list must start again */
  async listPage<T extends KubernetesObject>(
    kind: Kind,
    { namespace, labelSelector, signal }: ListOptions,
    pageToken: string | null,
  ): Promise<Page<T>> {
    const answer = await this.#call<{
      items: T[] | null;
      metadata: { resourceVersion: string; continue?: string };
    }>({
      method: "GET",
      path: this.#kinds.collectionPath(kind, namespace),
      query: { labelSelector, limit: PAGE_SIZE, continue: pageToken ?? undefined },
      ...(signal ? { signal } : {}),
    });
    const { apiVersion } = kind;
    return {
      items: (answer.items ?? []).map((item) => ({ ...item, apiVersion, kind: kind.kind })),
      resourceVersion: answer.metadata.resourceVersion,
      next: answer.metadata.continue || null,
    };
  }

  /**
   * The changes after a resourceVersion, until the server ends the watch after `timeoutSeconds`.
   * @throws ApiError: `gone` if the resourceVersion is too old; `timeout` after `idleMs` without data
   */
  async *watch<T extends KubernetesObject>(
    kind: Kind,
    { namespace, labelSelector, signal }: ListOptions,
    at: { resourceVersion: string; timeoutSeconds: number; idleMs: number },
  ): AsyncGenerator<WatchEvent<T>> {
    const request: ApiRequest = {
      method: "GET",
      path: this.#kinds.collectionPath(kind, namespace),
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
   * Server-side apply with strict field validation. It creates a missing object, unless the body has a
   * `metadata.uid`: then it changes only that object, or throws `conflict`. A field that another manager
   * owns is taken by force; that is first reported to `onConflict`, the log and `ssa_conflicts_total`.
   * @param object the intent only: no status, no managedFields, no resourceVersion
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
      this.#settings.log?.info(
        { object: refOf(object), manager, fields: lost },
        "forced server-side apply: another manager had changed fields",
      );
      onConflict?.(lost);
      return patch(true);
    }
  }

  /**
   * Server-side apply of the status alone. An equal status changes nothing, not even the
   * resourceVersion. Null if the object does not exist.
   */
  applyStatus<T extends KubernetesObject>(object: T, manager: string): Promise<T | null> {
    return orNull(this.#apply(object, { manager, force: true, subresource: "status" }));
  }

  /** Null if the object does not exist. @throws ApiError `conflict` if a `test` fails */
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

  /** False if it did not exist. Default propagation: Background. @throws ApiError `conflict` if uid or resourceVersion differ */
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

  /** Returns the created object; null if one of this name exists. */
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

  /** Replaces the whole object. @throws ApiError `conflict` if its resourceVersion is not the current one */
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

  /** Whether the API server serves a kind. The answer may be some minutes old. */
  serves(apiVersion: string, kind: string): Promise<boolean> {
    return this.#discovery.serves({ apiVersion, kind });
  }

  /** Closes the connections of all lanes. */
  close(): Promise<void> {
    return this.#connection.close();
  }

  #call<T>(request: ApiRequest): Promise<T> {
    return this.#connection.call<T>(this.#lane, request);
  }

  #apply<T extends KubernetesObject>(
    object: T,
    options: { manager: string; force: boolean; subresource?: string; dryRun?: boolean },
  ): Promise<T> {
    return this.#call<T>({
      method: "PATCH",
      path: this.#kinds.objectPath(refOf(object), options.subresource),
      query: {
        fieldManager: options.manager,
        fieldValidation: "Strict",
        force: options.force,
        dryRun: options.dryRun ? "All" : undefined,
      },
      contentType: "application/apply-patch+yaml", // JSON is YAML
      body: object,
    });
  }
}

async function fetchKinds(connection: ApiConnection, apiVersion: string): Promise<string[]> {
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
    const refusal = classifyAnswer(502, `watch line is not JSON: ${line.slice(0, 100)}`);
    throw new ApiError(`WATCH ${path}`, refusal, error);
  }
}
