/**
 * Builds the page into `../dist`, from where the front embeds it. `--mode preview` builds it around a network of the
 * imagination instead (`fake/`), for looking at each state of the page and checking it; such a build never gets into
 * `../dist`.
 */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { svelte } from '@sveltejs/vite-plugin-svelte';
import { build, defineConfig, type Plugin } from 'vite';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** As the front sends it: what works in a preview works in the real thing. */
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; " +
  "media-src 'self' blob:; font-src 'self'; connect-src 'self' http: https: ws: wss: blob:; worker-src 'self'; " +
  "manifest-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
  "require-trusted-types-for 'script'; trusted-types default kollator svelte-trusted-html";

/** Ships the licences of what is shipped with the page and asks for that. */
function licences(): Plugin {
  const text = (path: string): string => readFileSync(here(`../node_modules/${path}`), 'utf8');
  return {
    name: 'kollator-licences',
    apply: 'build',
    generateBundle() {
      const { version } = JSON.parse(text('mediabunny/package.json')) as { version: string };
      const where = `Mediabunny ${version}, unchanged; its source is at https://github.com/Vanilagy/mediabunny\n\n`;
      this.emitFile({ type: 'asset', fileName: 'assets/font-licence.txt', source: text('@fontsource-variable/instrument-sans/LICENSE') });
      this.emitFile({ type: 'asset', fileName: 'assets/mediabunny-licence.txt', source: where + text('mediabunny/LICENSE') });
    },
  };
}

/** Loads the font with the page, so that text does not change under the reader. */
function font(): Plugin {
  return {
    name: 'kollator-font',
    apply: 'build',
    transformIndexHtml: {
      order: 'post',
      handler(_html, context) {
        const file = Object.keys(context.bundle ?? {}).find((name) => /instrument-sans-latin-wght-normal.*\.woff2$/.test(name));
        if (file === undefined) return [];
        const attrs = { rel: 'preload', as: 'font', type: 'font/woff2', href: `/${file}`, crossorigin: '' };
        return [{ tag: 'link', attrs, injectTo: 'head-prepend' }];
      },
    },
  };
}

/**
 * The service worker, whole in one file at the root: its address decides which pages it serves, and browsers compare
 * that file to tell whether there is a new one.
 */
function serviceWorker(): Plugin {
  return {
    name: 'kollator-service-worker',
    apply: 'build',
    async generateBundle() {
      const built = await build({
        configFile: false,
        logLevel: 'warn',
        publicDir: false,
        build: {
          write: false,
          target: 'es2022',
          lib: { entry: here('../client/src/service-worker.ts'), formats: ['iife'], name: 'kollator', fileName: 'sw' },
        },
      });
      const [chunk] = (Array.isArray(built) ? built : [built]).flatMap((each) => ('output' in each ? each.output : []));
      if (chunk?.type !== 'chunk') throw new Error('the service worker was not built');
      this.emitFile({ type: 'asset', fileName: 'sw.js', source: chunk.code });
    },
  };
}

export default defineConfig(({ mode, command, isPreview }) => {
  const imagined = mode === 'preview' || (command === 'serve' && isPreview !== true);
  // What a front answers besides the page, when the real page is previewed beside a testbed.
  const front = { target: process.env.KOLLATOR_FRONT ?? 'http://127.0.0.1:8080', ws: true };
  return {
    plugins: [svelte(), font(), licences(), ...(imagined ? [] : [serviceWorker()])],
    resolve: imagined ? { alias: { '@kollator/client': here('fake/kollator.ts') } } : {},
    build: {
      outDir: imagined ? '../node_modules/.kollator-preview' : '../dist',
      emptyOutDir: true,
      target: 'es2022',
      modulePreload: { polyfill: false },
      assetsInlineLimit: 0,
    },
    worker: { format: 'es' },
    preview: {
      headers: { 'Content-Security-Policy': POLICY },
      proxy: imagined ? {} : { '/bootstrap': front, '/signaling': front, '/relay': front },
    },
  };
});
