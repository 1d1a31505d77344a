/** Registers the service worker, which serves files of shares at addresses of the page's own origin. */

/** How long it may take to begin, in milliseconds. A page that was reloaded past it is never served by it. */
const PATIENCE = 5_000;

/**
 * Registers it and tells whether it serves this page. Where browsers allow none (Tor Browser, browsers inside other apps,
 * pages that may keep nothing) the page works without: files are then played through the library, and saved by way of memory.
 */
export async function serviceWorkerServes(container: ServiceWorkerContainer | undefined, patience = PATIENCE): Promise<boolean> {
  if (container === undefined) return false;
  try {
    const controlled = new Promise<boolean>((resolve) => {
      container.addEventListener('controllerchange', () => resolve(true), { once: true });
      setTimeout(() => resolve(false), patience);
    });
    await container.register('/sw.js');
    return container.controller !== null || (await controlled);
  } catch {
    return false;
  }
}
