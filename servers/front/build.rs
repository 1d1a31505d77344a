//! Puts the web app into the program: lists every file in `web/dist`, which `web/build.sh` fills, as a table of paths
//! and contents. Without the app the table is empty and the program compiles all the same; nothing is built here.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let variable = |name| env::var_os(name).map(PathBuf::from).expect("cargo sets it");
    let dist = variable("CARGO_MANIFEST_DIR").join("web/dist");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", dist.display());
    // For a path that is not there, cargo would compile the program anew every time. A source tree that cannot be
    // written to bears that.
    let _ = fs::create_dir_all(&dist);
    let mut files = Vec::new();
    if dist.is_dir() {
        find(&dist, &mut files)?;
    }
    files.sort();
    let mut table = String::from("&[\n");
    for file in files {
        let path = file.strip_prefix(&dist).expect("it was found there");
        let path = path.to_str().expect("the build names files in ASCII").replace('\\', "/");
        let file = file.to_str().expect("as its path").to_owned();
        writeln!(table, "    ({path:?}, include_bytes!({file:?})),").expect("memory takes it");
    }
    table.push_str("]\n");
    fs::write(variable("OUT_DIR").join("app.rs"), table)
}

/// Adds the files below `folder`, without hidden ones: those are the build's own notes.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            find(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
