/**
 * The one place where text becomes code: the addresses of workers and of the service worker. Under the page's
 * Content-Security-Policy nothing runs that has not been through here, and only addresses of the page's own origin
 * get through. Text never becomes a script or markup.
 */

interface PolicyFactory {
  createPolicy(name: string, rules: { createScriptURL(url: string): string | null }): unknown;
}

/** The address, if it is of `origin`; otherwise nothing, which the browser refuses to load. */
export function ownScript(url: string, origin: string): string | null {
  try {
    const { protocol, host } = new URL(url, origin);
    return `${protocol}//${host}` === origin ? url : null;
  } catch {
    return null;
  }
}

/** Installs the policy, where the browser knows such policies. */
export function guardScripts(): void {
  const factory = (globalThis as { trustedTypes?: PolicyFactory }).trustedTypes;
  factory?.createPolicy('default', { createScriptURL: (url) => ownScript(url, location.origin) });
}
