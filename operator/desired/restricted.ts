/** What makes a pod pass Pod Security's `restricted` profile, and more: a root file system that is read-only. */
import type { V1PodSecurityContext, V1PodSpec, V1SecurityContext } from "@kubernetes/client-node";

/** @param user numeric, so that the kubelet can tell that it is not root; also the group that owns volumes */
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

/** Of files of a secret: readable by owner and group (the pod's fsGroup), 0440. */
export const SECRET_MODE = 0o440;
