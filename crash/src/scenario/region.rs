//! Memory with a name and without: who makes it, gives it its name and takes that back may die at any step, and so may who sweeps.

use std::time::{Duration, Instant};

use strait::region::{FrozenRegion, NamedError, NamedRegion, OwnRegion, sweep};

use super::{Role, until_told};
use crate::{
    case::{CALL, Case, Outcome, PATIENCE, Told},
    pattern::{number, pattern},
    place::Place,
    plan::Plan,
    region::{header, names, view},
    victim::Victim,
};

pub(super) const ROLES: &[Role] = &[
    Role { name: "owner", play: own, survive: outlive_an_owner },
    Role { name: "sweeper", play: sweep_on, survive: outlive_a_sweeper },
];

const NAME: &str = "region";
/// What the sweeper looks for.
const PREFIX: &str = "stale-";
/// How long others wait for a sweeper that is stuck before that is an error.
const STUCK: Duration = Duration::from_millis(400);

/// Makes regions of all kinds, and the same name again and again.
fn own(place: &Place) -> Outcome {
    for round in 0..8u64 {
        let bytes = pattern(round, 10_000);
        let frozen = FrozenRegion::from_bytes("strait:crash", &bytes).told("freezing")?;
        if number(&frozen)? != round {
            return Err("frozen memory holds something else".into());
        }
        drop(OwnRegion::create("strait:crash", &header(4096)).told("a region without a name")?);
        let mut region = create(place)?;
        if round % 4 == 3 {
            region.persist();
            drop(region);
            remove(place)?;
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    Ok(())
}

/// Until the other one, who wants the name too, gives it back.
fn create(place: &Place) -> Outcome<NamedRegion> {
    let begun = Instant::now();
    loop {
        match NamedRegion::create(&names(place), NAME, &header(4096)) {
            Err(NamedError::InUse { .. } | NamedError::Contended { .. } | NamedError::NotFound { .. })
                if begun.elapsed() < PATIENCE =>
            {
                std::thread::yield_now();
            }
            created => return created.told("create"),
        }
    }
}

fn remove(place: &Place) -> Outcome {
    match NamedRegion::remove(&names(place), NAME) {
        Ok(_) | Err(NamedError::InUse { .. } | NamedError::Contended { .. }) => Ok(()),
        Err(error) => Err(format!("remove: {error}")),
    }
}

fn outlive_an_owner(case: &mut Case) -> Outcome {
    case.each(|case| {
        while !case.is_over() {
            case.patience("making regions")?;
            match view(&case.place, NAME) {
                Ok(_) => {}
                Err(why) if why.contains("there is no region") => {}
                Err(why) => return Err(format!("half a region has a name: {why}")),
            }
            match case.within("create", STUCK, || NamedRegion::create(&names(&case.place), NAME, &header(4096)))? {
                Ok(region) => drop(region),
                Err(NamedError::InUse { .. } | NamedError::Persistent { .. } | NamedError::Contended { .. }) => {}
                Err(error) => return Err(format!("create: {error}")),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // The dead have nothing any more, but for what they wanted to be kept.
        match case.within("create", STUCK, || NamedRegion::create(&names(&case.place), NAME, &header(4096)))? {
            Ok(region) => drop(region),
            Err(NamedError::Persistent { .. }) => match NamedRegion::remove(&names(&case.place), NAME) {
                Ok(true) => {}
                other => return Err(format!("a kept name of a dead owner cannot be removed: {other:?}")),
            },
            Err(error) => return Err(format!("the name of a dead owner cannot be had: {error}")),
        }
        clean(case)
    })
}

/// Sweeps until it is told to end.
fn sweep_on(place: &Place) -> Outcome {
    let told = std::thread::spawn(until_told);
    while !told.is_finished() {
        sweep(&names(place), PREFIX).told("sweep")?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Helper: leaves a stale name, because it is killed as soon as it has one.
pub(super) fn leave(place: &Place) -> Outcome {
    let name = format!("{PREFIX}{}", std::process::id());
    let _region = NamedRegion::create(&names(place), &name, &header(4096)).told("create")?;
    Err("nobody has killed this process".into())
}

fn outlive_a_sweeper(case: &mut Case) -> Outcome {
    case.each(|case| {
        let plan = Plan::parse("named.linked:kill:1").ok_or("no plan")?;
        for _ in 0..2 {
            let leaver = Victim::start(("region", "leaver"), &case.place, &plan, "trace of the leaver")?;
            while leaver.known().end.is_none() {
                case.patience("leaving")?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let begun = Instant::now();
        while !crate::leaks::names(&case.place.data()).is_empty() && begun.elapsed() < 3 * CALL {
            std::thread::sleep(Duration::from_millis(1));
        }
        case.tell();
        while !case.is_over() {
            case.patience("sweeping")?;
            // Beside a sweeper that is stopped in the middle, this one says so, or sweeps.
            case.within("sweep", 2 * STUCK, || sweep(&names(&case.place), PREFIX))?.told("sweep")?;
            std::thread::sleep(Duration::from_millis(1));
        }
        let swept = case.within("sweep", STUCK, || sweep(&names(&case.place), PREFIX))?.told("sweep")?;
        if !swept.failed.is_empty() {
            return Err(format!("names of the dead stay: {swept:?}"));
        }
        clean(case)
    })
}

fn clean(case: &Case) -> Outcome {
    let left = crate::leaks::names(&case.place.data());
    if left.is_empty() { Ok(()) } else { Err(format!("regions are left: {left:?}")) }
}
