/** Who bids: bearer tokens (JWT), verified once and then remembered for a while. */
import { hash } from "node:crypto";
import {
  type CryptoKey,
  type JWTPayload,
  type JWTVerifyGetKey,
  SignJWT,
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
  readonly expiresAtMs: number;
}

/**
 * Verifies a token. Null for any token that is not good (answer 401).
 * @throws KeysUnavailable when the keys to judge it by cannot be had (answer 503; ask again)
 */
export type Verify = (token: string) => Promise<Identity | null>;

/** The key set cannot be fetched: whether a token is good cannot be told at present. */
export class KeysUnavailable extends Error {
  override readonly name = "KeysUnavailable";
}

/** A token that was revoked may go on for so long. */
const CACHE_MAX_MS = 60_000;
const CACHE_MAX_TOKENS = 20_000;

const SECRET_MIN_BYTES = 32;
/** How soon a changed secret is seen. */
const SECRET_LOOK_MS = 1_000;
const JWKS_TIMEOUT_MS = 900;
const JWKS_COOLDOWN_MS = 30_000;
const JWKS_MAX_AGE_MS = 600_000;
/** After a failed fetch nobody waits for another one for so long. */
const JWKS_RETRY_MS = 1_000;

/**
 * The bidder's name ends up in Redis, in JSON and in Postgres's text, which has no NUL and no lone
 * surrogates; so it holds neither.
 */
const BIDDER_ID = /^[^\p{Cc}\p{Cs}]{1,128}$/u;

const isScope = (word: string): word is Scope => word === "bid" || word === "admin";

/**
 * @throws Error where not exactly one source of keys is set, or the secret is shorter than 32 bytes:
 *   a process must not start with either
 */
export function createVerifier(env: TokenEnv): Verify {
  const known = new LRUCache<string, Identity>({ max: CACHE_MAX_TOKENS, ttl: CACHE_MAX_MS });
  const check = createCheck(env, () => known.clear());

  return async (token) => {
    if (token.length > TOKEN_MAX_BYTES) return null;
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
  /** To be called before a verified token is taken from memory: its secret may be another by now. */
  readonly refresh: () => void;
  readonly verify: (token: string) => Promise<JWTPayload | null>;
}

function createCheck(env: TokenEnv, onChange: () => void): Check {
  const { TOKEN_SECRET_FILE: secretFile, TOKEN_JWKS_URL: jwksUrl } = env;
  if ((secretFile === undefined) === (jwksUrl === undefined)) {
    throw new Error("set exactly one of TOKEN_SECRET_FILE and TOKEN_JWKS_URL");
  }
  // Which key and which algorithm verify a token is never the token's choice: `jku`, `x5u` and `jwk`
  // in its header are not looked at, and `kid` only picks among keys that we already have.
  const claims = {
    issuer: env.TOKEN_ISSUER,
    audience: env.TOKEN_AUDIENCE,
    requiredClaims: ["exp", "sub"],
  };
  if (secretFile !== undefined) {
    const secret = new MountedSecret(secretFile, onChange);
    const options = { ...claims, algorithms: ["HS256"] };
    return {
      refresh: () => secret.look(),
      verify: (token) =>
        jwtVerify(token, secret.bytes, options).then(({ payload }) => payload, refuse),
    };
  }
  const keys = patientKeys(new URL(jwksUrl!));
  const options = { ...claims, algorithms: ["RS256", "ES256", "EdDSA"] };
  return {
    refresh: () => {},
    verify: (token) => jwtVerify(token, keys, options).then(({ payload }) => payload, refuse),
  };
}

/** The secret of a file, which may be replaced at any time: then its tokens are the only good ones. */
class MountedSecret {
  bytes: Uint8Array;
  #text: string;
  #lookedAtMs = performance.now();
  readonly #file: string;
  readonly #onChange: () => void;

  constructor(file: string, onChange: () => void) {
    this.#file = file;
    this.#text = readSecretFile(file);
    this.bytes = secretBytes(this.#text, file);
    this.#onChange = onChange;
  }

  /** Once in a while. A file that holds no secret just now changes nothing. */
  look(): void {
    const nowMs = performance.now();
    if (nowMs - this.#lookedAtMs < SECRET_LOOK_MS) return;
    this.#lookedAtMs = nowMs;
    try {
      const text = readSecretFile(this.#file);
      if (text === this.#text) return;
      this.bytes = secretBytes(text, this.#file);
      this.#text = text;
      this.#onChange();
    } catch {
      // It is being replaced, or wrong: those who sign tokens will notice.
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

/** What is wrong with the token itself is null; what is wrong with us is thrown on. */
function refuse(error: unknown): null {
  if (error instanceof KeysUnavailable) throw error;
  if (error instanceof errors.JOSEError) return null;
  // Not a token at all (jose throws TypeErrors for some garbage) or a key that does not fit.
  if (error instanceof TypeError || error instanceof SyntaxError) return null;
  throw error;
}

/** jose's remote key set, with failures to fetch it told apart and not repeated for every token. */
function patientKeys(url: URL): JWTVerifyGetKey<CryptoKey> {
  const remote = createRemoteJWKSet(url, {
    timeoutDuration: JWKS_TIMEOUT_MS,
    cooldownDuration: JWKS_COOLDOWN_MS,
    cacheMaxAge: JWKS_MAX_AGE_MS,
  });
  let failedAtMs = -Infinity;
  return async (...header) => {
    if (!remote.fresh && performance.now() - failedAtMs < JWKS_RETRY_MS) {
      throw new KeysUnavailable("the key set could not be fetched a moment ago");
    }
    try {
      return await remote(...header);
    } catch (error) {
      const ofTheToken =
        error instanceof errors.JWKSNoMatchingKey ||
        error instanceof errors.JWKSMultipleMatchingKeys ||
        error instanceof errors.JOSENotSupported;
      if (ofTheToken) throw error;
      failedAtMs = performance.now();
      throw new KeysUnavailable("the key set cannot be fetched", { cause: error });
    }
  };
}

function identityOf({ sub, exp, ["scope"]: scope = "bid" }: JWTPayload): Identity | null {
  if (typeof sub !== "string" || !BIDDER_ID.test(sub)) return null;
  if (typeof exp !== "number" || typeof scope !== "string") return null;
  const scopes = new Set(scope.split(" ").filter(isScope));
  return { bidderId: sub, scopes, expiresAtMs: exp * 1000 };
}

export interface TokenClaims {
  readonly sub: string;
  /** Space-separated; "bid" unless given. */
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
