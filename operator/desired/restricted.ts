/** Security contexts for the `restricted` profile of Pod Security, with a read-only root file system. */
import type { V1PodSecurityContext, V1PodSpec, V1SecurityContext } from "@kubernetes/client-node";

/** @param user numeric, so that the kubelet can check that it is not root; also the group that owns volumes */
export function restrictedPod(user: number) {
  const securityContext: V1PodSecurityContext = {
    runAsNonRoot: true,
    runAsUser: user,
    runAsGroup: user,
    fsGroup: user,
    fsGroupChangePolicy: "OnRootMismatch",
    seccompProfile: { type: "RuntimeDefault" },
  };
  return {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    securityContext,
  } satisfies Partial<V1PodSpec>;
}

export const RESTRICTED_CONTAINER: V1SecurityContext = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  capabilities: { drop: ["ALL"] },
  seccompProfile: { type: "RuntimeDefault" },
};

/** Mode of files from Secrets: readable by the owner and by the fsGroup of the pod. */
export const SECRET_MODE = 0o440;
