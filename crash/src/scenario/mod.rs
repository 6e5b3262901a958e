//! Who plays what: a scenario for each part of strait that two processes share, and in it a role for each side that may die.

mod inherit;
mod launch;
mod mpmc;
mod queue;
mod region;
mod rpc;
mod slots;
mod snapshot;
mod state;
mod stream;

use crate::{
    case::{Case, Outcome},
    place::Place,
};

/// A side that may die, or be stopped.
pub(crate) struct Role {
    pub(crate) name: &'static str,
    /// What the victim's process does, until its work is done or its input is closed.
    pub(crate) play: Play,
    /// What the others do meanwhile, and check.
    pub(crate) survive: fn(&mut Case) -> Outcome,
}

const SCENARIOS: &[(&str, &[Role])] = &[
    ("rpc", rpc::ROLES),
    ("launch", launch::ROLES),
    ("stream", stream::ROLES),
    ("inherit", inherit::ROLES),
    ("state", state::ROLES),
    ("queue", queue::ROLES),
    ("slots", slots::ROLES),
    ("mpmc", mpmc::ROLES),
    ("snapshot", snapshot::ROLES),
    ("region", region::ROLES),
];

/// Processes that a case needs beside its victim.
const HELPERS: &[(&str, &str, Play)] = &[("launch", "server", launch::serve), ("region", "leaver", region::leave)];

/// What a process does.
type Play = fn(&Place) -> Outcome;

/// Every role, with its scenario.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static Role)> {
    SCENARIOS.iter().flat_map(|(scenario, roles)| roles.iter().map(move |role| (*scenario, role)))
}

/// A role by its names.
pub(crate) fn find(scenario: &str, role: &str) -> Option<&'static Role> {
    all().find(|(name, found)| *name == scenario && found.name == role).map(|(_, role)| role)
}

/// What the process does that plays `role`, which may be a helper's.
pub(crate) fn play(scenario: &str, role: &str) -> Option<Play> {
    let helper = HELPERS.iter().find(|(of, name, _)| (*of, *name) == (scenario, role)).map(|(.., play)| *play);
    helper.or_else(|| find(scenario, role).map(|role| role.play))
}

/// Waits until the process is told to end.
fn until_told() {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}
