//! What an index contained before sled opened it.

use std::os::unix::fs::symlink;

use super::*;
use crate::queue::index::{Batch, Index, IndexStore};
use crate::queue::sled::SledIndexStore;
use crate::queue::testing::TempDir;

fn filled(dir: &TempDir) -> PathBuf {
    let mut index = SledIndexStore::new(dir.path()).open(0).unwrap();
    let mut batch = Batch::default();
    batch.put(b"c".to_vec(), vec![7]);
    index.commit(&batch).unwrap();
    index.close();
    dir.path().join("index.0")
}

#[test]
fn an_index_that_came_back_bad_is_given_its_content_again_once() {
    let dir = TempDir::new("queue");
    let path = filled(&dir);
    let mut opener = SledIndexStore::new(dir.path());
    let index = opener.open(0).unwrap();
    // As sled leaves it if it was given nothing of it: written anew, with another snapshot.
    let len = fs::metadata(path.join("db")).unwrap().len() as usize;
    fs::write(path.join("db"), vec![0; len]).unwrap();
    fs::write(path.join("snap.7FFFFFFFFFFFFFFF"), b"another").unwrap();
    index.forget();
    assert!(opener.put_back(0).unwrap());
    assert!(!path.join("snap.7FFFFFFFFFFFFFFF").exists() && !path.join(TEMPORARY).exists());
    let mut index = opener.open(0).unwrap();
    assert_eq!(index.get(b"c").unwrap(), Some(vec![7]));
    index.close();
    assert!(!opener.put_back(0).unwrap(), "it was put back before");
}

/// A process that ended between two files of a new index leaves one without `db`. sled makes that anew
/// and locks it, and the handle that is given up keeps the lock.
#[test]
fn what_sled_made_of_an_unfinished_index_is_gone_when_it_gets_its_content_again() {
    let dir = TempDir::new("queue");
    let path = dir.path().join("index.0");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("conf"), "").unwrap();
    let mut store = SledIndexStore::new(dir.path());
    store.open(0).unwrap().forget();
    assert!(path.join("db").exists());
    assert!(store.put_back(0).unwrap());
    assert_eq!((path.join("db").exists(), fs::read(path.join("conf")).unwrap()), (false, vec![]));
    store.open(0).unwrap().close();
}

#[test]
fn a_copy_is_of_one_index_and_of_one_that_fits() {
    let dir = TempDir::new("queue");
    let path = filled(&dir);
    let mut opener = SledIndexStore::new(dir.path());
    opener.open(0).unwrap().close();
    assert!(!opener.put_back(1).unwrap());
    assert!(IndexCopy::read(&dir.path().join("index.9")).unwrap().is_none());
    let large = File::create(path.join("larger")).unwrap();
    large.set_len(INDEX_BYTES_MAX + 1).unwrap();
    assert!(IndexCopy::read(&path).unwrap().is_none());
}

#[test]
fn a_link_in_place_of_an_index_or_of_a_file_of_it_is_not_followed() {
    let dir = TempDir::new("queue");
    let path = filled(&dir);
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(path.join("db"), &elsewhere).unwrap();
    symlink(&elsewhere, path.join("db")).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    let error = SledIndexStore::new(dir.path()).open(0).unwrap_err();
    assert!(error.why.contains("open") && error.why.contains("index.0/db"), "{}", error.why);
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    fs::rename(&elsewhere, path.join("db")).unwrap_or(());
    fs::rename(&path, dir.path().join("whole")).unwrap();
    symlink(dir.path().join("whole"), &path).unwrap();
    assert!(SledIndexStore::new(dir.path()).open(0).is_err());
}
