/** Verification of bearer tokens (JWT), with a cache of verified tokens. */
import { hash } from "node:crypto";
import {
  type CryptoKey,
  type JWTPayload,
  type JWTVerifyGetKey,
  type RemoteJWKSet,
  SignJWT,
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  jwtVerify,
} from "jose";
import { LRUCache } from "lru-cache";
import { readSecretFile } from "../runtime/secret-file.ts";
import type { TokenEnv } from "./config.ts";
import { TOKEN_MAX_BYTES } from "./limits.ts";

export type Scope = "bid" | "admin";

export interface Identity {
  /** The token's `sub`: 1–128 characters, none of them a control character. */
  readonly bidderId: string;
  readonly scopes: ReadonlySet<Scope>;
  /** Until when it is accepted: a leeway after the token's `exp`. */
  readonly expiresAtMs: number;
}

/**
 * Verifies a token. Null for an invalid token (answer 401).
 * @throws KeysUnavailable when the key set cannot be fetched (answer 503)
 */
export type Verify = (token: string) => Promise<Identity | null>;

/** The key set cannot be fetched, so no token can be verified at present. */
export class KeysUnavailable extends Error {
  override readonly name = "KeysUnavailable";
}

/** How long a revoked token may still be accepted. */
const CACHE_MAX_MS = 60_000;
const CACHE_MAX_TOKENS = 20_000;

/** How far the clocks of the identity provider and of Gavel may differ, for `nbf` and `exp`. `iat` is not checked. */
const LEEWAY_SECONDS = 5;

const SECRET_MIN_BYTES = 32;
/** How often the secret file is checked for a change. */
const SECRET_CHECK_MS = 1_000;
const JWKS_TIMEOUT_MS = 900;
const JWKS_COOLDOWN_MS = 30_000;
const JWKS_MAX_AGE_MS = 600_000;
/** How long after a failed fetch the key set is not fetched again. */
const JWKS_RETRY_MS = 1_000;
const JWKS_IDLE_RETRY_MS = 30_000;
/** How long stale keys are used while the set cannot be fetched; a revoked key may be accepted for as long. */
const JWKS_STALE_MAX_MS = 3_600_000;

/**
 * The bidderId is stored in Redis, in JSON and in Postgres's text type, which allows neither NUL nor lone
 * surrogates.
 */
const BIDDER_ID = /^[^\p{Cc}\p{Cs}]{1,128}$/u;

const isScope = (word: string): word is Scope => word === "bid" || word === "admin";

/**
 * @param onStale is called when fetching the key set begins to fail, and when it succeeds again
 * @throws Error unless exactly one source of keys is set, or when the secret is shorter than 32 bytes: the process
 *   must not start
 */
export function createVerifier(
  env: TokenEnv,
  onStale: (isStale: boolean) => void = () => {},
): Verify {
  const known = new LRUCache<string, Identity>({ max: CACHE_MAX_TOKENS, ttl: CACHE_MAX_MS });
  const check = createCheck(env, () => known.clear(), onStale);

  return async (token) => {
    if (Buffer.byteLength(token) > TOKEN_MAX_BYTES) return null;
    check.refresh();
    const name = hash("sha256", token, "base64");
    const remembered = known.get(name);
    if (remembered && remembered.expiresAtMs > Date.now()) return remembered;

    const payload = await check.verify(token);
    const identity = payload && identityOf(payload);
    if (identity) known.set(name, identity);
    return identity;
  };
}

interface Check {
  /** Call it before the cache is used: the secret may have changed. */
  readonly refresh: () => void;
  readonly verify: (token: string) => Promise<JWTPayload | null>;
}

function createCheck(
  env: TokenEnv,
  onChange: () => void,
  onStale: (isStale: boolean) => void,
): Check {
  const { TOKEN_SECRET_FILE: secretFile, TOKEN_JWKS_URL: jwksUrl } = env;
  if ((secretFile === undefined) === (jwksUrl === undefined)) {
    throw new Error("set exactly one of TOKEN_SECRET_FILE and TOKEN_JWKS_URL");
  }
  // A token never chooses its key source or algorithm: `jku`, `x5u` and `jwk` of its header are ignored, and
  // `kid` only selects among the keys that we already have.
  const claims = {
    issuer: env.TOKEN_ISSUER,
    audience: env.TOKEN_AUDIENCE,
    requiredClaims: ["exp", "sub"],
    clockTolerance: LEEWAY_SECONDS,
  };
  if (secretFile !== undefined) {
    const secret = new MountedSecret(secretFile, onChange);
    const options = { ...claims, algorithms: ["HS256"] };
    return {
      refresh: () => secret.refresh(),
      verify: (token) =>
        jwtVerify(token, secret.bytes, options).then(({ payload }) => payload, refuse),
    };
  }
  const keys = new RemoteKeys(new URL(jwksUrl!), onStale);
  const options = { ...claims, algorithms: ["RS256", "ES256", "EdDSA"] };
  return {
    refresh: () => {},
    verify: (token) =>
      jwtVerify(token, (...of: KeyQuery) => keys.keyFor(...of), options).then(
        ({ payload }) => payload,
        refuse,
      ),
  };
}

/** The secret of a file. When the file is replaced, only tokens of the new secret are valid. */
class MountedSecret {
  bytes: Uint8Array;
  #text: string;
  #checkedAtMs = performance.now();
  readonly #file: string;
  readonly #onChange: () => void;

  constructor(file: string, onChange: () => void) {
    this.#file = file;
    this.#text = readSecretFile(file);
    this.bytes = secretBytes(this.#text, file);
    this.#onChange = onChange;
  }

  /** Reads the file at most once in SECRET_CHECK_MS. An unreadable file changes nothing. */
  refresh(): void {
    const nowMs = performance.now();
    if (nowMs - this.#checkedAtMs < SECRET_CHECK_MS) return;
    this.#checkedAtMs = nowMs;
    try {
      const text = readSecretFile(this.#file);
      if (text === this.#text) return;
      this.bytes = secretBytes(text, this.#file);
      this.#text = text;
      this.#onChange();
    } catch {
      // The file is being replaced, or is wrong: tokens of the new secret are refused then.
    }
  }
}

function secretBytes(secret: string, from: string): Uint8Array {
  const bytes = new TextEncoder().encode(secret);
  if (bytes.length < SECRET_MIN_BYTES) {
    throw new Error(`${from}: the secret must have at least ${SECRET_MIN_BYTES} bytes`);
  }
  return bytes;
}

/** Null for a fault of the token; other errors are rethrown. */
function refuse(error: unknown): null {
  if (error instanceof KeysUnavailable) throw error;
  if (error instanceof errors.JOSEError) return null;
  // jose throws TypeErrors for some malformed tokens and for a key of another type.
  if (error instanceof TypeError || error instanceof SyntaxError) return null;
  throw error;
}

/**
 * jose's remote key set, which survives an outage of its server: while it cannot be fetched, the stale keys, which were
 * fetched last, are used for JWKS_STALE_MAX_MS at most. A key that is not among them may be a new one.
 */
class RemoteKeys {
  #isFailing = false;
  #triedAtMs = -Infinity;
  /** When the set was last known to be current, by the clock that jose uses. */
  #freshAtMs = -Infinity;
  readonly #remote: RemoteJWKSet;
  readonly #onStale: (isStale: boolean) => void;

  constructor(url: URL, onStale: (isStale: boolean) => void) {
    this.#onStale = onStale;
    this.#remote = createRemoteJWKSet(url, {
      timeoutDuration: JWKS_TIMEOUT_MS,
      cooldownDuration: JWKS_COOLDOWN_MS,
      cacheMaxAge: JWKS_MAX_AGE_MS,
    });
  }

  /** @throws KeysUnavailable when the set cannot be fetched and no stale key fits */
  async keyFor(...of: KeyQuery): Promise<CryptoKey> {
    if (this.#isFailing) {
      const retried = this.#retry();
      if (this.#oldKeys() === null) await retried; // With stale keys nobody waits for the fetch.
    }
    if (!this.#isFailing) {
      try {
        const key = await this.#remote(...of);
        this.#succeeded();
        return key;
      } catch (error) {
        if (isTokenFault(error)) throw error;
        this.#failed();
      }
    }
    const old = this.#oldKeys();
    if (old === null) throw new KeysUnavailable("the key set cannot be fetched");
    return old(...of).catch((error: unknown) => {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      throw new KeysUnavailable("the key set cannot be fetched, and no old key fits");
    });
  }

  #oldKeys(): ReturnType<typeof createLocalJWKSet> | null {
    const keys = this.#remote.jwks();
    if (keys === undefined || Date.now() - this.#freshAtMs > JWKS_STALE_MAX_MS) return null;
    return createLocalJWKSet(keys);
  }

  /** Fetches again, at most once in JWKS_RETRY_MS. Never rejects. */
  async #retry(): Promise<void> {
    if (!this.#isFailing || performance.now() - this.#triedAtMs < JWKS_RETRY_MS) return;
    this.#triedAtMs = performance.now();
    await this.#remote.reload().then(
      () => this.#succeeded(),
      () => this.#failed(),
    );
  }

  #succeeded(): void {
    if (this.#remote.fresh) this.#freshAtMs = Date.now();
    if (this.#isFailing) this.#onStale(false);
    this.#isFailing = false;
  }

  #failed(): void {
    this.#triedAtMs = performance.now();
    if (!this.#isFailing) this.#onStale(true);
    this.#isFailing = true;
    // This notices the end of an outage even if no bidder sends a token.
    setTimeout(() => void this.#retry(), JWKS_IDLE_RETRY_MS).unref();
  }
}

type KeyQuery = Parameters<JWTVerifyGetKey<CryptoKey>>;

function isTokenFault(error: unknown): boolean {
  return (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSENotSupported
  );
}

function identityOf({ sub, exp, ["scope"]: scope = "bid" }: JWTPayload): Identity | null {
  if (typeof sub !== "string" || !BIDDER_ID.test(sub)) return null;
  if (typeof exp !== "number" || typeof scope !== "string") return null;
  const scopes = new Set(scope.split(" ").filter(isScope));
  return { bidderId: sub, scopes, expiresAtMs: (exp + LEEWAY_SECONDS) * 1000 };
}

export interface TokenClaims {
  readonly sub: string;
  /** Space-separated; "bid" by default. */
  readonly scope?: string;
  readonly issuer?: string;
  readonly audience?: string;
  readonly lifetimeSeconds: number;
}

/** Signs a development token (HS256). */
export function signToken(secret: string, claims: TokenClaims): Promise<string> {
  const { sub, scope = "bid", issuer = "gavel", audience = "gavel", lifetimeSeconds } = claims;
  const nowSeconds = Math.floor(Date.now() / 1000);
  return new SignJWT({ scope })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setSubject(sub)
    .setIssuer(issuer)
    .setAudience(audience)
    .setIssuedAt(nowSeconds)
    .setExpirationTime(nowSeconds + lifetimeSeconds)
    .sign(secretBytes(secret, "signToken"));
}
