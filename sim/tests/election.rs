//! The election in thousands of hostile worlds.

mod common;

use kollator_sim::election::Elections;

#[test]
fn elections_please_every_judge() {
    common::every_seed_pleases_every_judge::<Elections>(4_000);
}

#[test]
fn every_judge_notices_the_bugs_planted_for_it() {
    common::every_judge_notices(20_000, |judge, seed, plant| {
        Elections::run_with_judge(judge, seed, plant).failure
    });
}

#[test]
fn a_seed_is_one_run() {
    common::a_seed_is_one_run::<Elections>(50);
}
