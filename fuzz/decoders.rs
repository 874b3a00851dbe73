//! Fuzzes a decoder with libFuzzer. `FUZZ_TARGET` names the decoder, and `FUZZ_CORPUS` is the
//! directory for its seed inputs.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use native_node::fuzz::{TARGETS, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

fn choose() -> Target {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a decoder");
    let target = TARGETS.into_iter().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| {
        let names = TARGETS.map(|target| target.name).join(", ");
        panic!("FUZZ_TARGET is `{name}`, and the decoders are {names}")
    });
    if let Some(corpus) = std::env::var_os("FUZZ_CORPUS") {
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            let path = std::path::Path::new(&corpus).join(format!("seed-{number}"));
            std::fs::write(path, seed).expect("the corpus can be written");
        }
    }
    target
}

fuzz_target!(
    init: {
        TARGET.set(choose()).expect("it is set once");
    },
    |input: &[u8]| {
        let target = TARGET.get().expect("it is chosen before the first input");
        (target.run)(input);
    }
);
