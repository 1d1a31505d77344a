/**
 * The page's state: what the network says, what the user chose, where the address points. Components read it and
 * call its methods; nothing else talks to the network. It never puts a key anywhere but into the address's fragment.
 */

import type { ShareState, Stats, UploadItem } from '@kollator/client';

import { titleOf } from './lib/drop.ts';
import { failureOf, type Failure, type Network } from './lib/network.ts';
import { isPersonal } from './lib/person.ts';
import { ownStorage, remember, remembered, type Preferences } from './lib/preferences.ts';
import { routeOf, shareHref, type Route } from './lib/route.ts';
import { holdsTab } from './lib/words.ts';

/** A share being made, which has no info hash yet. */
export interface Draft {
  id: number;
  share: ShareState;
  failure?: Failure;
  abort: AbortController;
}

/** State of the page. One for each page. */
export class Session {
  /** Shares of this browser by info hash. */
  shares = $state.raw<ReadonlyMap<string, ShareState>>(new Map());
  drafts = $state.raw<readonly Draft[]>([]);
  /** Why a link could not be opened, or a share failed, by info hash. */
  failures = $state.raw<ReadonlyMap<string, Failure>>(new Map());
  stats = $state.raw<Stats | undefined>(undefined);
  preferences = $state.raw<Preferences>(remembered(ownStorage()));
  route = $state.raw<Route>({ page: 'home' });
  /** Whether the shares of this browser have been read. */
  loaded = $state(false);
  /** What kept the network from starting. */
  broken = $state.raw<Failure | undefined>(undefined);

  /** Whether files have addresses here, to be played and saved from; unknown while the service worker begins. */
  served = $state<boolean>();

  readonly network: Network;
  #draft = 0;

  constructor(network: Network) {
    this.network = network;
  }

  /** Whether closing the tab would lose something. */
  get holding(): boolean {
    return [...this.shares.values()].some(holdsTab) || this.drafts.some((draft) => draft.failure === undefined);
  }

  /** Begins: follows the address and connects. Gives what ends it again. */
  start(): () => void {
    const follow = (): void => this.#follow();
    const before = (event: BeforeUnloadEvent): void => {
      if (this.holding) event.preventDefault();
    };
    addEventListener('hashchange', follow);
    addEventListener('beforeunload', before);
    const stops = [
      this.network.on('share', (share) => this.#put(share)),
      this.network.on('removed', ({ infoHash }) => this.#remove(infoHash)),
      this.network.on('network', (stats) => (this.stats = stats)),
      () => removeEventListener('hashchange', follow),
      () => removeEventListener('beforeunload', before),
    ];
    const timer = setInterval(() => void this.#refresh(), 3000);
    stops.push(() => clearInterval(timer));
    void this.#connect();
    return () => stops.forEach((stop) => stop());
  }

  /** Rates and storage change without an event of their own. Nobody looks at them in a hidden tab. */
  async #refresh(): Promise<void> {
    if (!this.loaded || this.broken !== undefined || document.hidden) return;
    try {
      this.stats = await this.network.getStats();
    } catch {
      // The network tells by itself when it is gone.
    }
  }

  async #connect(): Promise<void> {
    try {
      await this.network.connect();
      for (const share of this.network.shares()) this.#put(share);
      this.stats = await this.network.getStats();
    } catch (thrown) {
      this.broken = failureOf(thrown);
    }
    this.loaded = true;
    this.#follow();
  }

  #follow(): void {
    this.route = routeOf(location.hash, location.origin);
    if (this.route.page === 'link' && this.loaded) void this.open(this.route.infoHash, this.route.link);
  }

  /** Gets what a link names, unless it is here or under way. */
  async open(infoHash: string, link: string): Promise<void> {
    const share = this.shares.get(infoHash);
    if (share !== undefined && share.phase !== 'failed') return;
    this.#forget(infoHash);
    try {
      this.#put(await this.network.download(link));
    } catch (thrown) {
      const failure = { ...failureOf(thrown), personal: isPersonal(link) };
      // Whoever deletes a share that is coming in knows that it stopped.
      if (failure.code !== 'aborted') this.failures = new Map(this.failures).set(infoHash, failure);
    }
  }

  /**
   * Makes a share of files, for anyone or for the one person whose key `to` is; the page moves on to it as soon as it
   * has a link.
   */
  async share(items: UploadItem[], to?: string): Promise<void> {
    if (items.length === 0) return;
    this.#draft += 1;
    const personal = to !== undefined;
    const encrypt = personal || this.preferences.encrypt;
    const draft: Draft = { id: this.#draft, share: { ...beginning(items), encrypted: encrypt, personal }, abort: new AbortController() };
    this.drafts = [...this.drafts, draft];
    if (this.route.page !== 'home') location.hash = '';
    try {
      const share = await this.network.upload(items, {
        encrypt,
        ...(personal ? { to } : {}),
        signal: draft.abort.signal,
        onProgress: (state) => this.#advance(draft.id, state),
      });
      this.#advance(draft.id, share);
    } catch (thrown) {
      if (draft.abort.signal.aborted) this.drop(draft.id);
      else this.drafts = this.drafts.map((each) => (each.id === draft.id ? { ...each, failure: failureOf(thrown) } : each));
    }
  }

  #advance(id: number, share: ShareState): void {
    if (!this.drafts.some((draft) => draft.id === id)) {
      if (share.infoHash !== '') this.#put(share);
      return;
    }
    if (share.infoHash === '' || share.phase === 'preparing') {
      // Until it is made a share has no key, and does not know yet that it is going to be encrypted.
      this.drafts = this.drafts.map((draft) => (draft.id === id ? { ...draft, share: { ...share, encrypted: draft.share.encrypted } } : draft));
      return;
    }
    this.#put(share);
    this.drop(id);
    if (this.route.page === 'home') location.replace(shareHref(share.infoHash));
  }

  /** Stops a share in the making, or dismisses one that failed. */
  drop(id: number): void {
    this.drafts.find((draft) => draft.id === id)?.abort.abort();
    this.drafts = this.drafts.filter((draft) => draft.id !== id);
  }

  /** Changes a share; what goes wrong is shown with it. */
  async act(infoHash: string, what: 'pause' | 'resume' | 'delete' | { seeding: boolean }): Promise<void> {
    this.#forget(infoHash);
    try {
      if (what === 'pause') await this.network.pause(infoHash);
      else if (what === 'resume') await this.network.resume(infoHash);
      else if (what === 'delete') await this.network.delete(infoHash);
      else await this.network.setSeeding(infoHash, what.seeding);
    } catch (thrown) {
      this.failures = new Map(this.failures).set(infoHash, failureOf(thrown));
    }
  }

  /** Takes up choices of the user. */
  async prefer(changes: Partial<Preferences>): Promise<void> {
    this.preferences = { ...this.preferences, ...changes };
    remember(ownStorage(), this.preferences);
    const { uploadLimit, downloadLimit, relayOnly, seedingTime } = this.preferences;
    await this.network.setOptions({ uploadLimit, downloadLimit, relayOnly, seedingTime });
  }

  #put(share: ShareState): void {
    if (share.infoHash === '') return;
    this.shares = new Map(this.shares).set(share.infoHash, share);
  }

  #remove(infoHash: string): void {
    const shares = new Map(this.shares);
    shares.delete(infoHash);
    this.shares = shares;
    this.#forget(infoHash);
  }

  #forget(infoHash: string): void {
    if (!this.failures.has(infoHash)) return;
    const failures = new Map(this.failures);
    failures.delete(infoHash);
    this.failures = failures;
  }
}

/** How a share looks before anything of it has been read. */
function beginning(items: UploadItem[]): Omit<ShareState, 'encrypted' | 'personal'> {
  const files = items.map(({ file, path }, index) => ({ index, path: path ?? file.name, length: file.size, bytesDone: file.size }));
  return {
    infoHash: '',
    name: titleOf(items),
    role: 'sent',
    phase: 'preparing',
    link: '',
    files,
    bytesTotal: files.reduce((sum, file) => sum + file.length, 0),
    bytesPrepared: 0,
    bytesStored: 0,
    bytesDone: 0,
    from: { disk: 0, worker: 0, peer: 0, http: 0 },
    bytesServed: 0,
    speedDown: 0,
    speedUp: 0,
    sources: [],
    seeding: true,
    addedAt: Date.now(),
  };
}
