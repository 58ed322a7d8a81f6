//! What the program did to its queue's directory, as the kernel tells it while it happens.
//!
//! Promises: events come in their order and at once, so that a fault can be made at one of them;
//! when the trail is ended, everything that happened before is in it. Never: opens a file there.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::fs::inotify::{
    CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch,
};

use crate::support::watched::Watched;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Made,
    Written,
    Removed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub what: What,
    /// As `log/0000000000000001.log`, `index.0/db`, `reserve`.
    pub name: String,
}

impl Step {
    pub fn is(&self, what: What, beginning: &str) -> bool {
        self.what == what && self.name.starts_with(beginning)
    }
}

/// Follows one directory and those in it.
pub struct Trail {
    inotify: Arc<OwnedFd>,
    root: i32,
    steps: Arc<Watched<Vec<Step>>>,
    follower: Option<JoinHandle<()>>,
}

impl Trail {
    /// `at_each` is called for each step as it is heard of, on the trail's own thread.
    pub fn follow(root: &Path, mut at_each: impl FnMut(&Step) + Send + 'static) -> Trail {
        let inotify = Arc::new(init(CreateFlags::CLOEXEC).expect("the kernel has inotify"));
        let flags = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO;
        let root_watch = add_watch(&inotify, root, flags).expect("the directory is there");
        let mut names = HashMap::from([(root_watch, PathBuf::new())]);
        for item in std::fs::read_dir(root).expect("the directory is there").flatten() {
            if item.file_type().is_ok_and(|kind| kind.is_dir())
                && let Ok(watch) = add_watch(&inotify, item.path(), flags)
            {
                names.insert(watch, PathBuf::from(item.file_name()));
            }
        }
        let steps: Arc<Watched<Vec<Step>>> = Arc::default();
        let (fd, list, root) = (Arc::clone(&inotify), Arc::clone(&steps), root.to_path_buf());
        let follower = std::thread::spawn(move || {
            let mut buffer = [MaybeUninit::uninit(); 16 << 10];
            let mut reader = Reader::new(&*fd, &mut buffer);
            while let Ok(event) = reader.next() {
                let (kind, watch) = (event.events(), event.wd());
                if watch == root_watch && kind.contains(ReadFlags::IGNORED) {
                    return;
                }
                let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
                let (Some(what), Some(dir), Some(name)) = (what(kind), names.get(&watch), name)
                else {
                    continue;
                };
                let path = dir.join(name);
                let step = Step { what, name: path.display().to_string() };
                at_each(&step);
                list.change(|list| list.push(step));
                if kind.contains(ReadFlags::ISDIR)
                    && what == What::Made
                    && let Ok(watch) = add_watch(&*fd, root.join(&path), flags)
                {
                    names.insert(watch, path);
                }
            }
        });
        Trail { inotify, root: root_watch, steps, follower: Some(follower) }
    }

    /// Ends the trail and hands out what it holds.
    pub fn ended(mut self) -> Vec<Step> {
        self.end();
        self.steps.look(Vec::clone)
    }

    fn end(&mut self) {
        // An unmounted root is watched no more: then the follower is gone already.
        let _ = remove_watch(&*self.inotify, self.root);
        if let Some(follower) = self.follower.take() {
            let _ = follower.join();
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.end();
    }
}

fn what(kind: ReadFlags) -> Option<What> {
    if kind.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
        Some(What::Made)
    } else if kind.contains(ReadFlags::MODIFY) {
        Some(What::Written)
    } else if kind.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
        Some(What::Removed)
    } else {
        None
    }
}
