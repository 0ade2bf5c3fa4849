use super::*;

fn blobs(place: &Path) -> Blobs {
    let limits = Limits {
        file_bytes: 1000,
        total_bytes: 3000,
    };
    Blobs::open(place, limits)
}

/// The files in the folder; waits until there are so many, because those that go do so on another thread.
fn files(blobs: &Blobs, count: usize) -> Vec<String> {
    let started = std::time::Instant::now();
    loop {
        let entries = std::fs::read_dir(&blobs.0.folder);
        let mut names: Vec<String> = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let late = started.elapsed().as_secs() > 60;
        if late || (names.len() == count && blobs.total().1 == count) {
            assert_eq!(names.len(), count, "{names:?}");
            return names;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_file_is_under_its_hash_and_the_same_is_there_once() {
    let place = tempfile::tempdir().unwrap();
    let blobs = blobs(place.path());
    let one = blobs.put(b"abc").unwrap();
    let name = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!((one.hash().to_string(), one.bytes()), (name.to_owned(), 3));
    check(place.path(), one.hash()).unwrap();
    let mut draft = blobs.draft().unwrap();
    draft.write(b"a").unwrap();
    draft.write(b"bc").unwrap();
    assert_eq!(draft.read_back().unwrap(), b"abc");
    let two = draft.finish().unwrap();
    assert_eq!(two.hash(), one.hash());
    assert_eq!(files(&blobs, 1), [name]);
    assert_eq!(std::fs::read(blobs.path(one.hash())).unwrap(), b"abc");
    drop(one);
    assert!(blobs.open_file(two.hash()).is_ok(), "the other holds it");
    drop(two);
    files(&blobs, 0);
    assert_eq!(blobs.total(), (0, 0));
}

#[test]
fn a_file_stays_while_a_record_mentions_it() {
    let place = tempfile::tempdir().unwrap();
    let blobs = blobs(place.path());
    let kept = blobs.put(b"abc").unwrap();
    let hash = kept.hash();
    blobs.hold(1, [hash], true);
    blobs.hold(2, [hash], true);
    drop(kept);
    blobs.release(1);
    blobs.sweep();
    files(&blobs, 1);
    blobs.release(2);
    files(&blobs, 0);
}

#[test]
fn after_a_crash_what_no_record_mentions_goes_and_nothing_else_does() {
    let place = tempfile::tempdir().unwrap();
    let first = blobs(place.path());
    let (used, unused) = (first.put(b"used").unwrap(), first.put(b"unused").unwrap());
    let (hash, folder) = (used.hash(), first.0.folder.clone());
    // Neither is dropped in a crash.
    std::mem::forget((used, unused));
    std::fs::write(folder.join("1-0.part"), "half").unwrap();
    std::fs::write(folder.join("letter.txt"), "not ours").unwrap();
    let second = blobs(place.path());
    assert_eq!(second.total(), (10, 2));
    second.hold(7, [hash, BlobHash([0; 32])], true);
    second.sweep();
    let mut left = vec![hash.to_string(), "letter.txt".to_owned()];
    left.sort();
    let names = std::fs::read_dir(&folder).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, left);
}

#[test]
fn files_are_bounded_each_and_in_all_and_those_of_alerts_that_are_through_give_way() {
    let place = tempfile::tempdir().unwrap();
    let blobs = blobs(place.path());
    assert!(matches!(blobs.put(&[1; 1001]), Err(BlobError::TooLarge(1000))));
    assert_eq!(blobs.total(), (0, 0));
    for (seq, byte) in (1..=3).zip([1, 2, 3]) {
        let kept = blobs.put(&[byte; 1000]).unwrap();
        blobs.hold(seq, [kept.hash()], true);
    }
    assert!(matches!(blobs.put(b"more"), Err(BlobError::Full(3000))));
    files(&blobs, 3);
    blobs.settled(2);
    let kept = blobs.put(b"more").unwrap();
    assert_eq!(blobs.total(), (2004, 3));
    drop(kept);
    files(&blobs, 2);
    blobs.settled(1);
    blobs.make_room();
    files(&blobs, 1);
}

#[test]
fn one_that_is_given_up_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let blobs = blobs(place.path());
    let mut draft = blobs.draft().unwrap();
    draft.write(&[7; 900]).unwrap();
    assert_eq!(blobs.total().0, 900);
    assert!(draft.write(&[7; 200]).is_err());
    drop(draft);
    assert_eq!(blobs.total(), (0, 0));
    files(&blobs, 0);
}

#[test]
fn a_check_tells_what_is_missing_and_what_has_changed() {
    let place = tempfile::tempdir().unwrap();
    let blobs = blobs(place.path());
    let kept = blobs.put(b"abc").unwrap();
    std::fs::write(blobs.path(kept.hash()), "abd").unwrap();
    assert!(
        check(place.path(), kept.hash())
            .unwrap_err()
            .to_string()
            .contains("changed")
    );
    let missing = check(place.path(), BlobHash([1; 32])).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}
