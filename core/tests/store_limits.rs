//! Every limit of the worker's store, reached: what is refused or has to wait, that nothing else is, and that
//! room comes back.

use std::num::NonZeroUsize;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest, InfoHash};
use kollator_core::machine::Instant;
use kollator_core::merkle::{VerifiedChunk, height_for, leaves, root, sha256};
use kollator_core::node::io::Ticket;
use kollator_core::store::{
    Answer, Config, Effect, EffectDone, MAX_KO_LEN, Outcome, Output, Part, PartData, Store, StoreError,
};

const NOW: Instant = Instant::ZERO;
const LENGTH: u64 = 1000;

#[test]
fn while_too_many_wait_every_question_that_would_wait_is_refused() {
    type Question = fn(&mut Store, Ticket);
    let questions: [Question; 5] = [
        |store, ticket| store.read(NOW, ticket, chunk(9).id(), Part::Leaves),
        |store, ticket| store.put(NOW, ticket, chunk(9)),
        |store, ticket| store.contains(NOW, ticket, chunk(9).id()),
        |store, ticket| store.torrent(NOW, ticket, info_hash(9)),
        |store, ticket| store.put_torrent(NOW, ticket, info_hash(9), Bytes::from_static(b"ko")),
    ];
    for question in questions {
        let mut world = World::new(Config { max_waiting: 3, ..Config::default() });
        world.store.put(NOW, Ticket(1), chunk(1));
        world.store.contains(NOW, Ticket(2), chunk(2).id());
        world.store.read(NOW, Ticket(3), chunk(3).id(), Part::Leaves);
        world.work();
        assert_eq!(world.answers(), []);
        assert_eq!(world.store.stats().waiting, 3);

        question(&mut world.store, Ticket(9));
        assert_eq!(world.new_effects(), 0);
        assert_eq!(refusals(&world.answers()), [(Ticket(9), StoreError::Busy)]);
        // What is in memory is answered without waiting.
        world.store.read(NOW, Ticket(4), chunk(1).id(), Part::Leaves);
        let leaves = PartData::Leaves(chunk(1).leaves().hashes().to_vec());
        assert_eq!(world.answers(), [Answer::Data { ticket: Ticket(4), result: Ok(leaves) }]);

        world.finish(|effect| matches!(effect, Effect::Exists { .. }));
        assert_eq!(world.answers(), [Answer::Contains { ticket: Ticket(2), result: Ok(false) }]);
        question(&mut world.store, Ticket(10));
        assert!(world.new_effects() > 0, "there is room again");
        assert_eq!(world.answers(), []);
    }
}

#[test]
fn too_many_queued_fetches_refuse_another_chunk_but_not_another_reader() {
    let mut world = World::new(Config { max_fetches: 1, max_queued_fetches: 2, ..Config::default() });
    let read = |world: &mut World, n: u8| world.store.read(NOW, Ticket(n.into()), chunk(n).id(), Part::Leaves);
    for n in [1, 2, 3, 3, 2, 1, 4] {
        read(&mut world, n);
    }
    assert_eq!(world.fetching(), [chunk(1).id()]);
    assert_eq!(refusals(&world.answers()), [(Ticket(4), StoreError::Busy)]);

    world.finish(is_fetch);
    assert_eq!(world.fetching(), [chunk(2).id()]);
    assert_eq!(world.answers().len(), 2, "both readers of the first");
    for n in [4, 5] {
        read(&mut world, n);
    }
    assert_eq!(refusals(&world.answers()), [(Ticket(5), StoreError::Busy)]);
    for _ in 0..3 {
        world.finish(is_fetch);
    }
    assert_eq!(world.answers().len(), 5, "both readers of the second and the third, one of the fourth");
    assert_eq!(world.fetching(), []);
}

#[test]
fn uploads_beyond_the_memory_are_refused_until_the_bytes_are_stored_and_cached() {
    let mut world = World::new(Config { max_memory: 2 * LENGTH + 500, ..Config::default() });
    for n in 1..=3 {
        world.store.put(NOW, Ticket(n), chunk(n as u8));
    }
    assert_eq!(refusals(&world.answers()), [(Ticket(3), StoreError::Busy)]);
    assert!(!world.store.has_room_for(LENGTH));
    // What is in memory already takes no more of it.
    world.store.put(NOW, Ticket(4), chunk(1));
    assert_eq!((world.answers(), world.store.memory_in_use()), (vec![], 2 * LENGTH));
    // A `.ko` takes of the same memory.
    let ko = |length: usize| Bytes::from(vec![0; length]);
    world.store.put_torrent(NOW, Ticket(5), info_hash(5), ko(501));
    assert_eq!(refusals(&world.answers()), [(Ticket(5), StoreError::Busy)]);
    world.store.put_torrent(NOW, Ticket(6), info_hash(6), ko(500));
    assert_eq!((world.answers(), world.store.memory_in_use()), (vec![], 2 * LENGTH + 500));
    assert!(!world.store.has_room_for(1));

    world.finish(|effect| matches!(effect, Effect::PutTorrent { .. }));
    world.finish(|effect| matches!(effect, Effect::PutChunk { .. }));
    assert_eq!(world.store.memory_in_use(), 2 * LENGTH, "still to be written to the cache");
    world.finish(|effect| matches!(effect, Effect::CacheWrite { .. }));
    assert_eq!(world.store.memory_in_use(), LENGTH);
    assert_eq!(refusals(&world.answers()), []);
    world.store.put(NOW, Ticket(3), chunk(3));
    world.work();
    assert_eq!(refusals(&world.answers()), []);
    assert_eq!(world.store.memory_in_use(), 2 * LENGTH);
}

#[test]
fn fetches_take_half_of_the_memory_and_wait_for_what_uploads_took() {
    let mut world = World::new(Config { max_memory: 4 * LENGTH, ..Config::default() });
    for n in 1..=5 {
        world.store.read(NOW, Ticket(n), chunk(n as u8).id(), Part::Leaves);
    }
    assert_eq!(world.fetching(), [1, 2].map(|n| chunk(n).id()));
    assert!(world.store.has_room_for(2 * LENGTH), "readers keep no upload out");
    for n in 6..=8 {
        world.store.put(NOW, Ticket(n), chunk(n as u8));
    }
    assert_eq!(refusals(&world.answers()), [(Ticket(8), StoreError::Busy)]);
    assert_eq!(world.store.memory_in_use(), 4 * LENGTH);
    // The fetched chunk stays in memory until it is written, so the third fetch cannot begin yet.
    world.finish(is_fetch);
    assert_eq!(world.fetching(), [chunk(2).id()]);
    assert_eq!(world.store.memory_in_use(), 4 * LENGTH);
    world.finish(
        |effect| matches!(effect, Effect::CacheWrite { chunk: written, .. } if written.id() == chunk(1).id()),
    );
    assert_eq!(world.fetching(), [2, 3].map(|n| chunk(n).id()));
    let answers = world.finish_all();
    assert_eq!((refusals(&answers), answers.len()), (vec![], 7), "five reads and two puts");
    assert_eq!((world.store.memory_in_use(), world.store.stats().waiting), (0, 0));
}

#[test]
fn what_can_never_fit_fails_at_once() {
    let mut world = World::new(Config { max_memory: 2 * LENGTH - 1, ..Config::default() });
    world.store.read(NOW, Ticket(1), chunk(1).id(), Part::Leaves);
    world.store.put(NOW, Ticket(2), chunk(1));
    world.store.put_torrent(NOW, Ticket(3), info_hash(3), vec![0; 2 * LENGTH as usize].into());
    assert_eq!(world.new_effects(), 0);
    let refused = refusals(&world.answers());
    assert!(matches!(
        &refused[..],
        [
            (Ticket(1), StoreError::Failed(_)),
            (Ticket(2), StoreError::Failed(_)),
            (Ticket(3), StoreError::Failed(_))
        ]
    ));

    let mut world = World::new(Config { max_memory: 2 * MAX_KO_LEN, ..Config::default() });
    world.store.put_torrent(NOW, Ticket(4), info_hash(4), vec![0; MAX_KO_LEN as usize + 1].into());
    assert!(
        matches!(&refusals(&world.answers())[..], [(Ticket(4), StoreError::Failed(why))] if why.contains("too long"))
    );
    world.store.put_torrent(NOW, Ticket(5), info_hash(5), vec![0; MAX_KO_LEN as usize].into());
    assert_eq!((world.new_effects(), world.answers()), (1, vec![]));
}

#[test]
fn no_more_requests_are_under_way_than_allowed_and_all_get_their_turn() {
    type Kind = (fn(&mut Store, u8), fn(&Effect) -> bool);
    let kinds: [Kind; 4] = [
        (|store, n| store.read(NOW, Ticket(n.into()), chunk(n).id(), Part::Leaves), is_fetch),
        (
            |store, n| store.put(NOW, Ticket(n.into()), chunk(n)),
            |effect| matches!(effect, Effect::PutChunk { .. }),
        ),
        (
            |store, n| store.contains(NOW, Ticket(n.into()), chunk(n).id()),
            |effect| matches!(effect, Effect::Exists { .. }),
        ),
        (
            |store, n| store.torrent(NOW, Ticket(n.into()), info_hash(n)),
            |effect| matches!(effect, Effect::FetchTorrent { .. }),
        ),
    ];
    for (ask, is_it) in kinds {
        let limits = Config { max_fetches: 3, max_puts: 3, max_lookups: 3, ..Config::default() };
        let mut world = World::new(limits);
        for n in 0..10 {
            ask(&mut world.store, n);
        }
        for left in (1..=10).rev() {
            world.work();
            let under_way = world.effects.iter().filter(|effect| is_it(effect)).count();
            assert_eq!(under_way, left.min(3));
            world.finish(is_it);
        }
        let answers = world.finish_all();
        assert_eq!((refusals(&answers), answers.len()), (vec![], 10));
    }
}

#[test]
fn questions_of_existence_and_kos_share_their_turns() {
    let mut world = World::new(Config { max_lookups: 2, ..Config::default() });
    for n in 0..4 {
        world.store.contains(NOW, Ticket(n), chunk(n as u8).id());
        world.store.torrent(NOW, Ticket(n), info_hash(n as u8));
    }
    assert_eq!(world.new_effects(), 2);
}

#[test]
fn only_so_many_stored_chunks_are_remembered() {
    let max_known = NonZeroUsize::new(2).expect("not zero");
    let mut world = World::new(Config { max_known, ..Config::default() });
    for n in 1..=3 {
        world.store.put(NOW, Ticket(n), chunk(n as u8));
        world.finish_all();
    }
    for n in [2, 3] {
        world.store.contains(NOW, Ticket(n), chunk(n as u8).id());
        assert_eq!(world.answers(), [Answer::Contains { ticket: Ticket(n), result: Ok(true) }]);
    }
    world.store.contains(NOW, Ticket(1), chunk(1).id());
    assert_eq!((world.new_effects(), world.answers()), (1, vec![]), "the backing store is asked");
}

#[test]
fn a_chunk_larger_than_the_cache_is_served_and_stored_without_it() {
    let mut world = World::new(Config { cache_bytes: LENGTH, ..Config::default() });
    world.store.read(NOW, Ticket(1), chunk(1).id(), Part::Leaves);
    world.store.put(NOW, Ticket(2), chunk(2));
    let answers = world.finish_all();
    assert_eq!((refusals(&answers), answers.len()), (vec![], 2));
    assert_eq!((world.store.cached().count(), world.store.stats().cache.bytes), (0, 0));
    assert_eq!(world.store.memory_in_use(), 0);
}

/// A store and a driver that does each effect when it is told to.
struct World {
    store: Store,
    /// Under way, in their order.
    effects: Vec<Effect>,
    answers: Vec<Answer>,
}

impl World {
    fn new(config: Config) -> Self {
        // What is verified meanwhile is nobody's question.
        let config = Config { scrub_rate: 0, ..config };
        Self { store: Store::new(config), effects: Vec::new(), answers: Vec::new() }
    }

    /// Takes what the store says.
    fn work(&mut self) {
        while let Some(output) = self.store.poll() {
            match output {
                Output::Effect(effect) => self.effects.push(effect),
                Output::Answer(answer) => self.answers.push(answer),
                Output::AskHome { .. } => panic!("there is no other worker"),
                Output::Fault(fault) => panic!("{fault}"),
            }
        }
    }

    /// How many effects began since the last look.
    fn new_effects(&mut self) -> usize {
        let before = self.effects.len();
        self.work();
        self.effects.len() - before
    }

    /// The answers since the last look.
    fn answers(&mut self) -> Vec<Answer> {
        self.work();
        std::mem::take(&mut self.answers)
    }

    /// The chunks being fetched.
    fn fetching(&mut self) -> Vec<ChunkId> {
        self.work();
        let fetches = self.effects.iter().filter_map(|effect| match effect {
            Effect::FetchChunk { chunk, .. } => Some(*chunk),
            _ => None,
        });
        fetches.collect()
    }

    /// Does the first effect of a kind: the backing store holds every chunk, but says that it does not.
    fn finish(&mut self, is_it: impl Fn(&Effect) -> bool) {
        self.work();
        let at = self.effects.iter().position(is_it).expect("such an effect is under way");
        let (ticket, outcome) = match self.effects.remove(at) {
            Effect::CacheWrite { ticket, .. }
            | Effect::CacheRemove { ticket, .. }
            | Effect::PutChunk { ticket, .. }
            | Effect::PutTorrent { ticket, .. } => (ticket, Outcome::Done),
            Effect::FetchChunk { ticket, chunk: id } => {
                let found = (0..=u8::MAX).map(chunk).find(|chunk| chunk.id() == id);
                (ticket, Outcome::Chunk(found))
            }
            Effect::FetchTorrent { ticket, .. } => (ticket, Outcome::Torrent(None)),
            Effect::Exists { ticket, .. } => (ticket, Outcome::Exists(false)),
            other => panic!("nobody asked for {other:?}"),
        };
        self.store.done(NOW, EffectDone { ticket, outcome });
    }

    /// Does everything; the answers since the last look.
    fn finish_all(&mut self) -> Vec<Answer> {
        self.work();
        while !self.effects.is_empty() {
            self.finish(|_| true);
            self.work();
        }
        self.answers()
    }
}

fn is_fetch(effect: &Effect) -> bool {
    matches!(effect, Effect::FetchChunk { .. })
}

fn refusals(answers: &[Answer]) -> Vec<(Ticket, StoreError)> {
    let refusal = |answer: &Answer| match answer.clone() {
        Answer::Data { ticket, result } => Some((ticket, result.err()?)),
        Answer::Stored { ticket, result } => Some((ticket, result.err()?)),
        Answer::Contains { ticket, result } => Some((ticket, result.err()?)),
        Answer::Torrent { ticket, result } => Some((ticket, result.err()?)),
    };
    answers.iter().filter_map(refusal).collect()
}

fn chunk(n: u8) -> VerifiedChunk {
    let data = Bytes::from(vec![n; LENGTH as usize]);
    let hashes = leaves(&data);
    let height = height_for(hashes.len() as u64);
    let id = ChunkId::new(root(&hashes, height, Digest::default()), LENGTH as u32, height).expect("a legal chunk");
    VerifiedChunk::verify(id, data).expect("hashed just now")
}

fn info_hash(n: u8) -> InfoHash {
    InfoHash(sha256(&[n]))
}
