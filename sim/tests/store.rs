//! The worker's store in thousands of hostile worlds.

mod common;

use kollator_sim::store::Stores;

#[test]
fn stores_please_every_judge() {
    common::every_seed_pleases_every_judge::<Stores>(30_000);
}

#[test]
fn every_judge_notices_the_bugs_planted_for_it() {
    common::every_judge_notices(2_000, |judge, seed, plant| Stores::run_with_judge(judge, seed, plant).failure);
}

#[test]
fn a_seed_is_one_run() {
    common::a_seed_is_one_run::<Stores>(200);
}
