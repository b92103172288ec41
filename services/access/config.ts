import Type from "typebox";

/** Variables for the verification of tokens. Exactly one of TOKEN_SECRET_FILE and TOKEN_JWKS_URL must be set. */
export const TokenEnv = {
  TOKEN_SECRET_FILE: Type.Optional(
    Type.String({
      description:
        "File with the secret of HS256 tokens, at least 32 bytes: for development. A changed file is read within a second.",
      minLength: 1,
    }),
  ),
  TOKEN_JWKS_URL: Type.Optional(
    Type.String({
      description:
        "URL of the key set (JWKS) that tokens are signed with: RS256, ES256 or EdDSA. Fetched when needed, cached for 10 min; while it cannot be fetched, the stale keys are used for an hour more.",
      pattern: "^https?://",
    }),
  ),
  TOKEN_ISSUER: Type.String({
    description: "What a token's `iss` must be.",
    minLength: 1,
    default: "gavel",
  }),
  TOKEN_AUDIENCE: Type.String({
    description: "What a token's `aud` must be or contain.",
    minLength: 1,
    default: "gavel",
  }),
};

export type TokenEnv = Type.Static<Type.TObject<typeof TokenEnv>>;
