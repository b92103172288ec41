/** Variables that a program needs, and none that configures this project. */
const NEEDED = [
  "PATH",
  "HOME",
  "USER",
  "LOGNAME",
  "SHELL",
  "TMPDIR",
  "LANG",
  "LC_ALL",
  "TZ",
  "LD_LIBRARY_PATH",
  "DOCKER_HOST",
  "DOCKER_CONFIG",
  // Changes how fast a program starts, and nothing else: vitest.config.ts.
  "NODE_COMPILE_CACHE",
];

/**
 * The environment of a fresh shell, with `more`, for programs that a test runs as a person would. Variables
 * that configure the test run itself (YES=1 in CI, the flags of make) are left out.
 */
export function plainEnv(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const needed = NEEDED.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(needed), ...more };
}
