/** `Authorization: Bearer <token>` (RFC 9110, 11.4): the scheme in any case, one or more spaces. */
const BEARER = /^Bearer +(\S+) *$/i;

/** Null if the header is absent or has another scheme. */
export function bearerToken(authorization: string | undefined): string | null {
  return BEARER.exec(authorization ?? "")?.[1] ?? null;
}
