//! The stores of workers that ask each other, in thousands of hostile worlds.

mod common;

use kollator_sim::together::Together;

#[test]
fn stores_together_please_every_judge() {
    common::every_seed_pleases_every_judge::<Together>(5_000);
}

#[test]
fn every_judge_notices_the_bugs_planted_for_it() {
    common::every_judge_notices(2_000, |judge, seed, plant| Together::run_with_judge(judge, seed, plant).failure);
}

#[test]
fn a_seed_is_one_run() {
    common::a_seed_is_one_run::<Together>(200);
}
