/** Checks a pod's spec by Pod Security's `restricted` profile and by Gavel's own requirements. For tests. */

interface Context {
  readonly runAsNonRoot?: boolean;
  readonly runAsUser?: number;
  readonly allowPrivilegeEscalation?: boolean;
  readonly readOnlyRootFilesystem?: boolean;
  readonly privileged?: boolean;
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
  readonly seccompProfile?: { readonly type: string };
}

export interface JudgedPod {
  readonly automountServiceAccountToken?: boolean;
  readonly enableServiceLinks?: boolean;
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly hostIPC?: boolean;
  readonly securityContext?: Context;
  readonly containers: readonly {
    readonly name: string;
    readonly securityContext?: Context;
    readonly ports?: readonly { readonly hostPort?: number }[];
  }[];
  readonly initContainers?: readonly object[];
  readonly volumes?: readonly Readonly<Record<string, unknown>>[];
}

const VOLUMES = ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"].concat(
  "persistentVolumeClaim",
  "projected",
  "secret",
);

/** @returns all violations */
export function notRestricted(pod: JudgedPod): string[] {
  const wrong: string[] = [];
  const must = (holds: boolean | undefined, what: string) => void (holds || wrong.push(what));
  must(pod.automountServiceAccountToken === false, "has a token of the API server");
  must(pod.enableServiceLinks === false, "gets environment variables of all Services");
  must(!pod.hostNetwork && !pod.hostPID && !pod.hostIPC, "shares the host's namespaces");
  must(pod.initContainers === undefined, "has init containers, which are not judged");
  for (const volume of pod.volumes ?? []) {
    const kinds = Object.keys(volume).filter((field) => field !== "name");
    must(kinds.length === 1 && VOLUMES.includes(kinds[0]!), `volume ${String(volume["name"])}`);
  }
  for (const { name, securityContext = {}, ports = [] } of pod.containers) {
    const at = (what: string) => `${name}: ${what}`;
    const both = { ...pod.securityContext, ...securityContext };
    must(both.runAsNonRoot, at("may run as root"));
    must((both.runAsUser ?? 0) > 0, at("runs as root or as nobody knows who"));
    must(both.seccompProfile?.type === "RuntimeDefault", at("has no seccomp profile"));
    must(securityContext.allowPrivilegeEscalation === false, at("may gain privileges"));
    must(securityContext.readOnlyRootFilesystem, at("can write to its image"));
    must(!securityContext.privileged, at("is privileged"));
    must(securityContext.capabilities?.drop?.includes("ALL"), at("keeps capabilities"));
    must((securityContext.capabilities?.add ?? []).length === 0, at("adds capabilities"));
    must(
      ports.every(({ hostPort }) => hostPort === undefined),
      at("takes a port of the host"),
    );
  }
  return wrong;
}
