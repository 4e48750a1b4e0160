//! Whether this CPU has what the program was built for.
//!
//! The build uses x86-64-v2 with PCLMULQDQ (`.cargo/config.toml`). On an older
//! CPU the first such instruction would end the process with SIGILL and no
//! word of why. `is_x86_feature_detected!` cannot tell: for features that the
//! build takes for granted it is `true` at compile time.

/// Names the features that are lacking; empty when the program can run.
#[cfg(target_arch = "x86_64")]
pub(crate) fn lacking() -> Vec<&'static str> {
    use raw_cpuid::CpuId;

    let cpu = CpuId::new();
    let lahf = cpu.get_extended_processor_and_feature_identifiers();
    let lahf = lahf.is_some_and(|info| info.has_lahf_sahf());
    let Some(info) = cpu.get_feature_info() else { return vec!["CPUID leaf 1"] };
    let needed = [
        ("CMPXCHG16B", info.has_cmpxchg16b()),
        ("LAHF", lahf),
        ("POPCNT", info.has_popcnt()),
        ("SSE3", info.has_sse3()),
        ("SSSE3", info.has_ssse3()),
        ("SSE4.1", info.has_sse41()),
        ("SSE4.2", info.has_sse42()),
        ("PCLMULQDQ", info.has_pclmulqdq()),
    ];
    needed.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect()
}

/// Other architectures are built for their baseline.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn lacking() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_machine_that_runs_the_tests_has_everything() {
        assert_eq!(super::lacking(), Vec::<&str>::new());
    }
}
