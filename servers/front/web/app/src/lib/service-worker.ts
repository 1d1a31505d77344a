/** Registers the service worker, which serves files of shares at addresses of the page's own origin. */

/**
 * Registers it and tells whether it serves this page. Where browsers allow none (plain HTTP, some private windows)
 * the page works without: files are then saved by way of memory, and not played before they are saved.
 */
export async function serviceWorkerServes(container: ServiceWorkerContainer | undefined): Promise<boolean> {
  if (container === undefined) return false;
  try {
    const controlled = new Promise<void>((resolve) => container.addEventListener('controllerchange', () => resolve(), { once: true }));
    await container.register('/sw.js');
    if (container.controller === null) await controlled;
    return true;
  } catch {
    return false;
  }
}
