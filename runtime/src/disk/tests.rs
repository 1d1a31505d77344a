//! The disk against a plain picture of what was written: whatever is killed, nothing is claimed that was not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use kollator_core::id::ChunkId;
use kollator_core::merkle::{BLOCK_LEN, ChunkLeaves, VerifiedBlocks, leaves};
use kollator_core::metainfo::Piece;
use kollator_core::node::io::Ticket;
use kollator_core::seal::{PLAIN_BLOCK_LEN, SEALED_NAME, ShareKey, sealed_length};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const PIECE: u32 = 4 * BLOCK_LEN;

/// A folder on disk and its share.
struct Fixture {
    dir: TempDir,
    hashed: HashedShare,
    key: Option<ShareKey>,
}

impl Fixture {
    /// Shares files of these lengths; `seed` decides their bytes, and every third file repeats the first.
    fn folder(lengths: &[usize], seed: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (index, &length) in lengths.iter().enumerate() {
            let folder = dir.path().join(format!("source/{}", ["", "деревья", "木/林"][index % 3]));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{index}")), bytes(length, seed + index % 3)).unwrap();
        }
        Self::hash(dir, None)
    }

    /// Shares the same, encrypted.
    fn sealed(self) -> Self {
        Self::hash(self.dir, Some(ShareKey::new([7; 32])))
    }

    fn file(data: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("source"), data).unwrap();
        Self::hash(dir, None)
    }

    fn hash(dir: TempDir, key: Option<ShareKey>) -> Self {
        let options = ShareOptions { piece_length: PIECE, key: key.clone(), ..ShareOptions::default() };
        let hashed = hash_share(&dir.path().join("source"), &options, &|_, _| {}).unwrap();
        Self { dir, hashed, key }
    }

    fn metainfo(&self) -> &Arc<Metainfo> {
        &self.hashed.metainfo
    }

    fn output(&self) -> PathBuf {
        self.dir.path().join("output")
    }

    fn part(&self) -> PathBuf {
        self.dir.path().join("output.part")
    }

    fn options(&self, overwrite: bool) -> OutputOptions {
        OutputOptions { path: Some(self.output()), overwrite, sync: true, key: self.key.clone(), threads: 2 }
    }

    /// What a process that starts now sees.
    fn prepare(&self, overwrite: bool) -> (Disk, Result<Vec<Claim>, DiskError>) {
        let disk = Disk::default();
        disk.expect(self.metainfo().info_hash(), self.options(overwrite));
        let prepared = disk.execute(DiskCommand::Prepare { metainfo: Arc::clone(self.metainfo()) });
        let DiskEvent::Prepared { found, .. } = prepared else { panic!("{prepared:?}") };
        (disk, found)
    }

    fn form(&self) -> Form {
        Form::new(Arc::clone(self.metainfo()), self.key.as_ref()).unwrap()
    }

    /// The right bytes of a piece, straight from the source.
    fn piece(&self, piece: u32) -> Bytes {
        let piece = self.metainfo().pieces()[piece as usize];
        let mut data = fs::read(self.hashed.source.path(piece.file)).unwrap();
        if let Some(key) = &self.key {
            let share = kollator_core::seal::open(self.metainfo(), key).unwrap();
            data = share.files[piece.file as usize].key.seal_run(data.len() as u64, 0, &data);
        }
        let start = piece.offset as usize;
        Bytes::from(data).slice(start..start + piece.chunk.length() as usize)
    }

    fn blocks(&self, piece: u32, first: u16, count: u16) -> VerifiedBlocks {
        let chunk = self.metainfo().pieces()[piece as usize].chunk;
        let data = self.piece(piece);
        let at = usize::from(first) * BLOCK_LEN as usize;
        let part = data.slice(at..at + chunk.range_len(first, count).unwrap() as usize);
        let proven = ChunkLeaves::prove(chunk, leaves(&data)).unwrap();
        proven.verify(first, HashedBlocks::compute(part)).unwrap()
    }

    /// Where a chunk belongs.
    fn places(&self, chunk: ChunkId) -> impl Iterator<Item = Place> {
        let pieces = self.metainfo().pieces().iter().filter(move |piece| piece.chunk == chunk);
        pieces.map(|piece| Place { file: piece.file, offset: piece.offset })
    }

    /// Every block of the share and its hash.
    fn all_blocks(&self) -> BTreeMap<Place, Digest> {
        let pieces = (0..).zip(self.metainfo().pieces());
        let claim = |(number, piece): (u32, &Piece)| Claim {
            place: Place { file: piece.file, offset: piece.offset },
            leaves: leaves(&self.piece(number)),
        };
        blocks_of(&pieces.map(claim).collect::<Vec<_>>())
    }

    fn write(&self, disk: &Disk, piece: u32, first: u16, count: u16) -> Result<(), DiskError> {
        let blocks = self.blocks(piece, first, count);
        let places = self.places(blocks.chunk()).collect();
        let info_hash = self.metainfo().info_hash();
        let written = disk.execute(DiskCommand::Write { ticket: Ticket(7), info_hash, places, blocks });
        let DiskEvent::Written { ticket: Ticket(7), result } = written else { panic!("{written:?}") };
        result
    }

    fn write_all(&self, disk: &Disk) {
        for (number, piece) in (0u32..).zip(self.metainfo().pieces()) {
            self.write(disk, number, 0, piece.chunk.blocks()).unwrap();
        }
    }

    fn finish(&self, disk: &Disk) -> Result<(), DiskError> {
        let info_hash = self.metainfo().info_hash();
        let finished = disk.execute(DiskCommand::Finish { info_hash });
        let DiskEvent::Finished { result, .. } = finished else { panic!("{finished:?}") };
        result
    }

    fn assert_claims_everything(&self, claims: &[Claim]) {
        assert_eq!(blocks_of(claims), self.all_blocks());
    }

    fn assert_output_is_right(&self) {
        let form = self.form();
        for index in 0..self.metainfo().files().len() as u32 {
            let path = path::below(&self.output(), form.components(index));
            assert!(fs::read(&path).unwrap() == fs::read(self.hashed.source.path(index)).unwrap(), "{path:?}");
        }
        assert!(!self.part().exists());
        assert!(!self.dir.path().join("output.part.state").exists());
    }
}

/// Every block that is claimed, and its hash.
fn blocks_of(claims: &[Claim]) -> BTreeMap<Place, Digest> {
    let block = |(Place { file, offset }, number, leaf): (Place, u64, &Digest)| {
        (Place { file, offset: offset + number * u64::from(BLOCK_LEN) }, *leaf)
    };
    let blocks = claims.iter().flat_map(|claim| (0..).zip(&claim.leaves).map(|(n, leaf)| (claim.place, n, leaf)));
    blocks.map(block).collect()
}

fn bytes(length: usize, seed: usize) -> Vec<u8> {
    let mut rng = kollator_core::machine::Rng::new(seed as u64);
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

fn block_len() -> usize {
    BLOCK_LEN as usize
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Processes come and go, each killed after some writes: the next one claims exactly what was written, and
    /// what it wrote is what is read.
    #[test]
    fn claims_are_what_was_written(
        lengths in prop::collection::vec(0..3 * PIECE as usize, 1..6),
        seed in 0..1000usize,
        sealed in any::<bool>(),
        runs in prop::collection::vec(prop::collection::vec(any::<(prop::sample::Index, u16, u16)>(), 0..6), 1..5),
    ) {
        let plain = Fixture::folder(&lengths, seed);
        let fixture = if sealed { plain.sealed() } else { plain };
        let pieces = fixture.metainfo().pieces().to_vec();
        let all = fixture.all_blocks();
        let mut written = BTreeSet::new();
        for run in runs {
            let (disk, claims) = fixture.prepare(false);
            let right = all.iter().filter(|(place, _)| written.contains(*place));
            prop_assert_eq!(blocks_of(&claims.unwrap()), right.map(|(place, leaf)| (*place, *leaf)).collect());
            if pieces.is_empty() {
                continue;
            }
            for (piece, first, count) in run {
                let piece = piece.index(pieces.len()) as u32;
                let chunk = pieces[piece as usize].chunk;
                let first = first % chunk.blocks();
                let count = count % (chunk.blocks() - first) + 1;
                fixture.write(&disk, piece, first, count).unwrap();
                for Place { file, offset } in fixture.places(chunk) {
                    let place = |block| Place { file, offset: offset + u64::from(block) * u64::from(BLOCK_LEN) };
                    written.extend((first..first + count).map(place));
                }
                let at = &pieces[piece as usize];
                let place = Place { file: at.file, offset: at.offset + u64::from(first) * u64::from(BLOCK_LEN) };
                let length = chunk.range_len(first, count).unwrap();
                let info_hash = fixture.metainfo().info_hash();
                let read = disk.execute(DiskCommand::Read { ticket: Ticket(1), info_hash, place, length });
                let DiskEvent::Read { data, .. } = read else { panic!("{read:?}") };
                let right = fixture.blocks(piece, first, count);
                prop_assert_eq!(&data.unwrap(), right.data());
            }
        }
        let (disk, _) = fixture.prepare(false);
        fixture.write_all(&disk);
        fixture.finish(&disk).unwrap();
        fixture.assert_output_is_right();
    }
}

#[test]
fn a_block_that_could_not_be_written_is_not_claimed() {
    let fixture = Fixture::file(&bytes(PIECE as usize, 1));
    let (disk, _) = fixture.prepare(false);
    // The data cannot be written any more; the state could.
    fs::remove_file(fixture.part()).unwrap();
    assert!(fixture.write(&disk, 0, 1, 2).is_err());
    drop(disk);
    assert_eq!(fixture.prepare(false).1.unwrap(), []);
}

#[test]
fn claims_are_hashed_from_what_is_on_disk_now() {
    let fixture = Fixture::file(&bytes(2 * PIECE as usize, 2));
    let (disk, _) = fixture.prepare(false);
    fixture.write_all(&disk);
    drop(disk);
    let mut data = fs::read(fixture.part()).unwrap();
    data[block_len() + 3] ^= 1;
    fs::write(fixture.part(), data).unwrap();
    let claims = fixture.prepare(false).1.unwrap();
    let (found, right) = (blocks_of(&claims), fixture.all_blocks());
    let wrong: Vec<&Place> = right.keys().filter(|place| found[place] != right[place]).collect();
    assert_eq!(wrong, [&Place { file: 0, offset: u64::from(BLOCK_LEN) }]);
}

#[test]
fn a_finished_download_is_found_whole_and_left_alone() {
    let plain = || [Fixture::file(&bytes(3 * block_len() + 1, 3)), Fixture::folder(&[0, 70_000, 1], 3)];
    for fixture in plain().into_iter().chain(plain().map(Fixture::sealed)) {
        let (disk, _) = fixture.prepare(false);
        fixture.write_all(&disk);
        fixture.finish(&disk).unwrap();
        fixture.finish(&disk).unwrap();
        let info_hash = fixture.metainfo().info_hash();
        let Piece { chunk, file, offset } = fixture.metainfo().pieces()[0];
        let (place, length) = (Place { file, offset }, chunk.length());
        let read = disk.execute(DiskCommand::ReadLeaves { ticket: Ticket(0), info_hash, place, length });
        let DiskEvent::Leaves { leaves: read, .. } = read else { panic!("{read:?}") };
        assert_eq!(read.unwrap(), leaves(&fixture.piece(0)), "it can be seeded");
        assert!(fixture.write(&disk, 0, 0, 1).is_err());

        let (disk, claims) = fixture.prepare(false);
        fixture.assert_claims_everything(&claims.unwrap());
        fixture.finish(&disk).unwrap();
        fixture.assert_output_is_right();
        assert_eq!(disk.output_path(info_hash), Some(fixture.output()));
    }
}

#[test]
fn what_is_something_else_is_refused_or_replaced_as_told() {
    let plain = || [Fixture::file(&bytes(100, 4)), Fixture::folder(&[100, 0], 4)];
    for fixture in plain().into_iter().chain(plain().map(Fixture::sealed)) {
        let single = fixture.form().is_single_file();
        let precious = if single { fixture.output() } else { fixture.output().join("0") };
        fs::create_dir_all(precious.parent().unwrap()).unwrap();
        // One byte differs: the lengths fit.
        let mut data = bytes(100, 4);
        data[99] ^= 1;
        fs::write(&precious, &data).unwrap();
        let refused = fixture.prepare(false).1.unwrap_err();
        assert!(refused.0.contains("output exists and"), "{refused}");
        assert_eq!(fs::read(&precious).unwrap(), data);
        assert!(!fixture.part().exists(), "nothing is left behind");

        let (disk, claims) = fixture.prepare(true);
        assert_eq!(claims.unwrap(), []);
        assert_eq!(fs::read(&precious).unwrap(), data, "kept until the download is whole");
        fixture.write_all(&disk);
        fixture.finish(&disk).unwrap();
        fixture.assert_output_is_right();
    }
}

#[test]
fn what_appears_at_the_output_meanwhile_is_not_replaced() {
    let fixture = Fixture::file(&bytes(100, 5));
    let (disk, _) = fixture.prepare(false);
    fixture.write_all(&disk);
    fs::write(fixture.output(), "precious").unwrap();
    assert!(fixture.finish(&disk).unwrap_err().0.contains("created meanwhile"));
    assert_eq!(fs::read(fixture.output()).unwrap(), b"precious");
}

#[test]
fn a_state_that_is_not_ours_is_refused_and_kept() {
    let (fixture, other) = (Fixture::file(&bytes(100, 6)), Fixture::file(&bytes(200, 7)));
    let state = fixture.dir.path().join("output.part.state");
    drop(other.prepare(false).0);
    let of_other = fs::read(other.dir.path().join("output.part.state")).unwrap();
    let of_other_hash = other.metainfo().info_hash().to_string();
    drop(fixture.prepare(false).0);
    let ours = fs::read(&state).unwrap();
    let mut newer = ours.clone();
    newer[11] = 3;
    for (bytes, why) in [
        (&of_other[..], of_other_hash.as_str()),
        (&ours[..ours.len() - 1], "damaged"),
        (&newer[..], "version 3"),
        (&ours[..20], "not the resume state"),
        (b"", "not the resume state"),
        (&[0; 45][..], "not the resume state"),
    ] {
        fs::write(&state, bytes).unwrap();
        let refused = fixture.prepare(false).1.unwrap_err();
        assert!(refused.0.contains(why) && refused.0.contains("output.part.state"), "{refused}");
        assert_eq!(fs::read(&state).unwrap(), bytes);
    }
    assert_eq!(fixture.prepare(true).1.unwrap(), []);
    fs::remove_file(&state).unwrap();
    assert!(fixture.prepare(false).1.unwrap_err().0.contains("output.part exists"), "whose is it?");
}

#[test]
fn two_downloads_to_one_place_do_not_mix() {
    let fixture = Fixture::file(&bytes(100, 8));
    let (_running, first) = fixture.prepare(false);
    first.unwrap();
    for overwrite in [false, true] {
        assert!(fixture.prepare(overwrite).1.unwrap_err().0.contains("in use"));
    }
}

#[test]
fn an_output_must_have_a_name_and_a_folder() {
    let fixture = Fixture::folder(&[1, 2], 9);
    let disk = Disk::default();
    for (path, why) in [("..", "names no file"), ("/nowhere/at/all", "/nowhere/at")] {
        let options = OutputOptions { path: Some(path.into()), overwrite: true, ..OutputOptions::default() };
        disk.expect(fixture.metainfo().info_hash(), options);
        let metainfo = Arc::clone(fixture.metainfo());
        let prepared = disk.execute(DiskCommand::Prepare { metainfo });
        let DiskEvent::Prepared { found: Err(error), .. } = prepared else { panic!("{prepared:?}") };
        assert!(error.0.contains(why), "{error}");
    }
}

#[test]
fn an_output_may_name_the_folder_it_goes_into() {
    let fixture = Fixture::file(b"x");
    let path_for = |path: &Path| {
        OutputOptions { path: Some(path.to_owned()), ..OutputOptions::default() }.path_for(&fixture.form())
    };
    let dir = fixture.dir.path();
    assert_eq!(path_for(dir), dir.join("source"));
    assert_eq!(path_for(&dir.join("new")), dir.join("new"));
    assert_eq!(path_for(&dir.join("new/")), dir.join("new/source"));
    assert_eq!(OutputOptions::default().path_for(&fixture.form()), Path::new("source"));
    let sealed = fixture.sealed();
    assert_eq!(
        OutputOptions::default().path_for(&sealed.form()),
        Path::new("source"),
        "not what it is called outside"
    );
}

#[test]
fn a_share_is_read_only_as_long_as_it_is_what_was_hashed() {
    let fixture = Fixture::file(&bytes(3 * block_len(), 10));
    let info_hash = fixture.metainfo().info_hash();
    let source = fixture.dir.path().join("source");
    let disk = Disk::default();
    disk.offer(fixture.hashed.source);
    let read = |file, offset, length| {
        let place = Place { file, offset };
        let read = disk.execute(DiskCommand::Read { ticket: Ticket(3), info_hash, place, length });
        let DiskEvent::Read { ticket: Ticket(3), data } = read else { panic!("{read:?}") };
        data
    };
    let block = u64::from(BLOCK_LEN);
    assert_eq!(read(0, block, 2 * BLOCK_LEN).unwrap(), bytes(3 * block_len(), 10)[block_len()..]);
    assert!(read(0, block, 2 * BLOCK_LEN + 1).is_err() && read(0, u64::MAX, 1).is_err() && read(1, 0, 1).is_err());
    let finished = disk.execute(DiskCommand::Finish { info_hash });
    assert!(matches!(finished, DiskEvent::Finished { result: Err(_), .. }), "a share is never written");
    fs::write(&source, bytes(3 * block_len(), 11)).unwrap();
    let modified = std::time::SystemTime::UNIX_EPOCH;
    File::options().write(true).open(&source).unwrap().set_modified(modified).unwrap();
    assert!(read(0, 0, BLOCK_LEN).unwrap_err().0.contains("changed since it was shared"));
}

#[test]
fn a_folder_is_shared_without_its_links_and_special_files() {
    let fixture = Fixture::folder(&[5, 0, block_len() + 1, 9], 12);
    let root = fixture.dir.path().join("source");
    symlink("/etc/passwd", root.join("link")).unwrap();
    symlink("/etc", root.join("木/folder")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    let again = hash_share(
        &root,
        &ShareOptions { piece_length: PIECE, threads: 1, ..ShareOptions::default() },
        &|_, _| {},
    )
    .unwrap();
    assert_eq!(again.metainfo.info_hash(), fixture.metainfo().info_hash());
    assert_eq!(again.skipped, [root.join("link"), root.join("socket"), root.join("木/folder")]);
    let paths: Vec<String> = again.metainfo.files().iter().map(|file| file.path.join("/")).collect();
    assert_eq!(paths, ["0", "3", "деревья/1", "木/林/2"]);
}

#[test]
fn what_cannot_be_shared_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let share =
        |path: &Path, options: &ShareOptions| hash_share(path, options, &|_, _| {}).unwrap_err().to_string();
    let options = ShareOptions::default();
    assert!(share(&dir.path().join("missing"), &options).contains("missing"));
    assert!(share(dir.path(), &options).contains("no file"));
    assert!(share(Path::new("/dev/null"), &options).contains("neither a file nor a folder"));
    assert!(share(Path::new("/"), &options).contains("no name"));
    fs::write(dir.path().join("file"), "x").unwrap();
    assert!(
        share(dir.path(), &ShareOptions { piece_length: 5_000_000, ..options.clone() }).contains("piece length")
    );
    assert!(
        share(dir.path(), &ShareOptions { name: Some("a/b".into()), ..options.clone() }).contains("info.name")
    );
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(&b"odd\xff"[..]);
    fs::write(dir.path().join::<&std::ffi::OsStr>(odd), "x").unwrap();
    assert!(share(dir.path(), &options).contains("odd"));
}

#[test]
fn a_folder_that_reads_as_a_single_file_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("source")).unwrap();
    fs::write(dir.path().join("source/source"), "twice").unwrap();
    let fixture = Fixture::hash(dir, None);
    assert!(fixture.metainfo().is_single_file());
    let (disk, _) = fixture.prepare(false);
    fixture.write_all(&disk);
    fixture.finish(&disk).unwrap();
    assert_eq!(fs::read(fixture.output()).unwrap(), b"twice");
}

#[test]
fn an_encrypted_share_of_any_length_is_read_sealed_and_written_open() {
    let block = PLAIN_BLOCK_LEN as usize;
    let lengths = [0, 1, block - 1, block, block + 1, 2 * block, 4 * block - 1, 4 * block, 4 * block + 1, 0];
    for threads in [1, 3] {
        let mut fixture = Fixture::folder(&lengths, 14).sealed();
        assert_eq!((fixture.metainfo().name(), fixture.hashed.name.as_str()), (SEALED_NAME, "source"));
        let mut shared: Vec<u64> = fixture.metainfo().files().iter().map(|file| file.length).collect();
        let mut wanted = lengths.map(|length| sealed_length(length as u64));
        shared.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(shared, wanted);
        // What is read from the source is what the metainfo says, and what the other end verifies.
        let offered = Disk::default();
        let options =
            ShareOptions { piece_length: PIECE, key: fixture.key.clone(), threads, ..ShareOptions::default() };
        let again = hash_share(&fixture.dir.path().join("source"), &options, &|_, _| {}).unwrap();
        assert_eq!(again.metainfo, *fixture.metainfo(), "sealing is a function of key, names and bytes");
        offered.offer(again.source);
        let (disk, _) = fixture.prepare(false);
        let info_hash = fixture.metainfo().info_hash();
        for (number, piece) in (0u32..).zip(fixture.metainfo().pieces()) {
            let (place, length) = (Place { file: piece.file, offset: piece.offset }, piece.chunk.length());
            let read = offered.execute(DiskCommand::Read { ticket: Ticket(1), info_hash, place, length });
            let DiskEvent::Read { data, .. } = read else { panic!("{read:?}") };
            assert_eq!(data.unwrap(), fixture.piece(number));
            let read = offered.execute(DiskCommand::ReadLeaves { ticket: Ticket(2), info_hash, place, length });
            let DiskEvent::Leaves { leaves: read, .. } = read else { panic!("{read:?}") };
            assert_eq!(read.unwrap(), leaves(&fixture.piece(number)));
        }
        fixture.write_all(&disk);
        fixture.finish(&disk).unwrap();
        fixture.assert_output_is_right();
        // A share that is downloaded can be passed on.
        fixture.hashed.source = hash_share(&fixture.output(), &options, &|_, _| {}).unwrap().source;
        fixture.assert_claims_everything(&fixture.prepare(false).1.unwrap());
    }
}

#[test]
fn an_encrypted_share_without_its_key_leaves_the_disk_alone() {
    let mut fixture = Fixture::folder(&[5, 0], 15).sealed();
    for (key, why) in [(None, "the link has no key"), (Some(ShareKey::new([8; 32])), "does not open this share")] {
        fixture.key = key;
        let refused = fixture.prepare(true).1.unwrap_err();
        assert!(refused.0.contains(why), "{refused}");
        assert_eq!(fs::read_dir(fixture.dir.path()).unwrap().count(), 1, "only the source");
    }
    let mut plain = Fixture::file(b"x");
    plain.key = Some(ShareKey::new([7; 32]));
    assert!(plain.prepare(true).1.unwrap_err().0.contains("is not encrypted"));
    let named = ShareOptions { name: Some(SEALED_NAME.into()), ..ShareOptions::default() };
    let refused = hash_share(&plain.dir.path().join("source"), &named, &|_, _| {}).unwrap_err();
    assert!(refused.to_string().contains("marks encrypted shares"), "{refused}");
}

#[test]
fn progress_ends_at_the_whole() {
    let fixture = Fixture::folder(&[100_000, 0, 300_000], 13);
    let most = Mutex::new((0, 0));
    let progress = |done, total| {
        let mut most = most.lock().unwrap();
        *most = (most.0.max(done), total);
    };
    hash_share(&fixture.dir.path().join("source"), &ShareOptions::default(), &progress).unwrap();
    assert_eq!(most.into_inner().unwrap(), (400_000, 400_000));
}
