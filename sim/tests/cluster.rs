//! Clusters of fronts by the thousand.

mod common;

use kollator_sim::cluster::Clusters;
use kollator_sim::simulation::Simulation as _;

#[test]
fn clusters_please_every_judge() {
    common::every_seed_pleases_every_judge::<Clusters>(2_000);
}

#[test]
fn every_judge_notices_the_bugs_planted_for_it() {
    common::every_judge_notices(200, |judge, seed, plant| {
        Clusters::run(seed, Some(plant), None).failure.filter(|failure| failure.oracle == judge)
    });
}

#[test]
fn a_seed_is_one_run() {
    common::a_seed_is_one_run::<Clusters>(24);
}
