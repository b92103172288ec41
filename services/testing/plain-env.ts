/** What a program needs of its surroundings, and nothing that could tell it what to do. */
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
  "NODE_COMPILE_CACHE", // changes how fast a program starts, and nothing else
];

/**
 * The environment of a shell that was just opened, with `more`: for programs that a test runs as a person
 * would. What the tests themselves were told (CI exports YES=1, make its own flags) is not told to them.
 */
export function plainEnv(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const needed = NEEDED.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(needed), ...more };
}
