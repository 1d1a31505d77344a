//! Worlds by the thousand.

mod common;

use kollator_sim::simulation::Simulation as _;
use kollator_sim::world::Worlds;

#[test]
fn worlds_please_every_judge() {
    common::every_seed_pleases_every_judge::<Worlds>(1_500);
}

#[test]
fn every_judge_notices_the_bugs_planted_for_it() {
    common::every_judge_notices(800, |judge, seed, plant| {
        Worlds::run(seed, Some(plant), None).failure.filter(|failure| failure.oracle == judge)
    });
}

#[test]
fn a_seed_is_one_run() {
    common::a_seed_is_one_run::<Worlds>(24);
}
