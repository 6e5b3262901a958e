//! Named regions between processes that live, are stopped, and are killed.

mod support;

use std::{sync::atomic::Ordering, time::Duration};

use strait_region::{HEADER_BYTES, NamedError, NamedRegion, Place, WriterLock, WriterLockError, sweep};
use strait_sync::{Words, WordsMut};
use support::{
    child::{Child, hear, play, say},
    expected, header,
    scratch::{Scratch, honest},
};

#[test]
fn roles() {
    play(&[("churner", churner), ("owner", owner), ("racer", racer), ("reader", reader), ("writer", writer)]);
}

/// `directory prefix`, as the parent says them.
fn argument(scratch: &Scratch) -> String {
    format!("{} {}", scratch.place.path().display(), scratch.prefix())
}

fn place(argument: &str) -> (Place, &str) {
    let (directory, prefix) = argument.split_once(' ').unwrap();
    (Place::directory(directory), prefix)
}

/// Owns `a` until its input ends.
fn owner(argument: &str) {
    let (place, prefix) = place(argument);
    let region = NamedRegion::create(&place, &format!("{prefix}a"), &header()).unwrap();
    region.store(HEADER_BYTES, u64::from(std::process::id()), Ordering::Release);
    say("ready");
    hear();
    drop(region);
    say("dropped");
    hear();
}

/// Owns `a` and gives it up, again and again.
fn churner(argument: &str) {
    let (place, prefix) = place(argument);
    say("ready");
    loop {
        drop(NamedRegion::create(&place, &format!("{prefix}a"), &header()).unwrap());
    }
}

/// Tries to own each name that it hears, keeps it until the next line, and so on.
fn racer(argument: &str) {
    let (place, prefix) = place(argument);
    say("ready");
    loop {
        let name = hear();
        if name.is_empty() {
            return;
        }
        let created = NamedRegion::create(&place, &format!("{prefix}{name}"), &header());
        match &created {
            Ok(_) => say("won"),
            Err(NamedError::InUse { .. }) => say("in use"),
            Err(error) => say(&error.to_string()),
        }
        hear();
        drop(created);
        say("done");
    }
}

/// Opens `a` for reading and answers with the word that it finds.
fn reader(argument: &str) {
    let (place, prefix) = place(argument);
    let view = NamedRegion::open_read_only(&place, &format!("{prefix}a"), &expected(), honest()).unwrap();
    say(&view.load(HEADER_BYTES).to_string());
}

/// Opens `a` and holds the writer lock until its input ends.
fn writer(argument: &str) {
    let (place, prefix) = place(argument);
    let region = NamedRegion::open(&place, &format!("{prefix}a"), &expected(), honest()).unwrap();
    let _lock = WriterLock::try_acquire(region.fd()).unwrap();
    say("locked");
    hear();
}

#[test]
fn another_process_opens_by_name() {
    for scratch in Scratch::both("other") {
        let region = scratch.create("a");
        region.store(HEADER_BYTES, 4711, Ordering::Release);
        Child::start("reader", &argument(&scratch)).expect("4711");
    }
}

#[test]
fn an_owner_in_another_process_removes_its_name_when_it_is_done() {
    let scratch = Scratch::shm("done");
    let mut owner = Child::start("owner", &argument(&scratch));
    owner.expect("ready");
    assert_eq!(scratch.open("a").load(HEADER_BYTES), u64::from(owner.pid()));
    owner.tell("drop");
    owner.expect("dropped");
    assert!(scratch.names().is_empty());
}

#[test]
fn a_killed_owners_name_is_stale_and_the_next_owner_replaces_it() {
    for scratch in Scratch::both("killed") {
        let mut owner = Child::start("owner", &argument(&scratch));
        owner.expect("ready");
        owner.kill();
        assert_eq!(scratch.names(), ["a"]);
        assert!(!scratch.open("a").has_owner().unwrap());
        let region = scratch.create("a");
        assert_eq!(region.load(HEADER_BYTES), 0, "this is a new one");
    }
}

#[test]
fn a_killed_owners_name_is_swept() {
    for scratch in Scratch::both("swept") {
        let mut owner = Child::start("owner", &argument(&scratch));
        owner.expect("ready");
        owner.kill();
        let swept = sweep(&scratch.place, scratch.prefix()).unwrap();
        assert_eq!((swept.removed.as_slice(), swept.failed.len()), ([scratch.name("a")].as_slice(), 0));
        assert!(scratch.names().is_empty());
    }
}

#[test]
fn a_live_owner_is_never_swept_and_a_stopped_one_lives() {
    for scratch in Scratch::both("stopped") {
        let mut owner = Child::start("owner", &argument(&scratch));
        owner.expect("ready");
        let check = || {
            let error = NamedRegion::create(&scratch.place, &scratch.name("a"), &header()).unwrap_err();
            assert!(matches!(&error, NamedError::InUse { pid, .. } if *pid == u64::from(owner.pid())), "{error}");
            assert!(sweep(&scratch.place, scratch.prefix()).unwrap().removed.is_empty());
            assert_eq!(scratch.names(), ["a"]);
        };
        check();
        owner.signal(libc::SIGSTOP);
        (0..20).for_each(|_| check());
        owner.signal(libc::SIGCONT);
        check();
        owner.tell("drop");
        owner.expect("dropped");
    }
}

#[test]
fn an_owner_that_is_killed_at_any_moment_leaves_a_whole_region_or_none() {
    for scratch in Scratch::both("moment") {
        let mut left = 0;
        for round in 0..25 {
            let mut churner = Child::start("churner", &argument(&scratch));
            churner.expect("ready");
            std::thread::sleep(Duration::from_micros(500 + 37 * round));
            churner.kill();
            match scratch.names().as_slice() {
                [] => {}
                [name] if name == "a" => {
                    left += 1;
                    assert!(!scratch.open("a").has_owner().unwrap());
                }
                names => panic!("{names:?}"),
            }
            drop(scratch.create("a"));
        }
        eprintln!("{left} of 25 left their name behind");
    }
}

#[test]
fn of_two_creators_exactly_one_wins() {
    const ROUNDS: usize = 150;
    for scratch in Scratch::both("race") {
        let mut racers = [0, 1].map(|_| Child::start("racer", &argument(&scratch)));
        racers.iter().for_each(|racer| racer.expect("ready"));
        let mut wins = [0; 2];
        for round in 0..ROUNDS {
            // Every other round over a stale name.
            if round % 2 == 1 {
                scratch.leave_stale("r");
            }
            racers.iter_mut().for_each(|racer| racer.tell("r"));
            let answers = [racers[0].line(), racers[1].line()];
            match [answers[0].as_str(), answers[1].as_str()] {
                ["won", "in use"] => wins[0] += 1,
                ["in use", "won"] => wins[1] += 1,
                other => panic!("round {round}: {other:?}"),
            }
            assert_eq!(scratch.names(), ["r"]);
            racers.iter_mut().for_each(|racer| racer.tell("next"));
            racers.iter().for_each(|racer| racer.expect("done"));
            assert!(scratch.names().is_empty());
        }
        assert_eq!(wins[0] + wins[1], ROUNDS);
    }
}

#[test]
fn a_creator_and_a_sweeper_do_not_disturb_each_other() {
    let scratch = Scratch::shm("sweepers");
    let mut racer = Child::start("racer", &argument(&scratch));
    racer.expect("ready");
    for _ in 0..100 {
        scratch.leave_stale("r");
        racer.tell("r");
        // However they meet: the stale one goes once, the new one stays.
        let swept = sweep(&scratch.place, scratch.prefix()).unwrap();
        assert!(swept.failed.is_empty(), "{:?}", swept.failed);
        racer.expect("won");
        assert_eq!(scratch.names(), ["r"]);
        racer.tell("next");
        racer.expect("done");
    }
}

#[test]
fn the_writer_of_a_named_region_need_not_be_its_owner() {
    for scratch in Scratch::both("writer") {
        let region = scratch.create("a");
        let mut writer = Child::start("writer", &argument(&scratch));
        writer.expect("locked");
        let taken = WriterLock::try_acquire(region.fd());
        assert!(matches!(taken, Err(WriterLockError::WriterTaken)), "{taken:?}");
        writer.signal(libc::SIGSTOP);
        WriterLock::try_acquire(region.fd()).unwrap_err();
        writer.kill();
        let _lock = WriterLock::try_acquire(region.fd()).unwrap();
    }
}
