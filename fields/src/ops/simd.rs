//! Which vector instructions a kernel runs with: found once at run time, and forced tier by tier in the tests.
//!
//! A kernel is a [`pulp::WithSimd`] whose `with_simd` is `#[inline(always)]`; [`Tier::run`] calls it from a function
//! compiled for the tier, so that even plain loops in it become vector code of that width.

#![expect(unsafe_code, reason = "prefetching and dispatch are unsafe instructions by nature")]

use pulp::{Scalar128b, Simd, WithSimd};

/// A level of vector instructions that this machine has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tier {
    /// Nothing beyond what the compiler assumes for the target (SSE2 on `x86_64`): 4 lanes, no fused multiply-add.
    Portable,
    /// AVX2 and FMA: 8 lanes, 16 registers.
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    /// AVX-512 (F, CD, VL, DQ, BW): 16 lanes, 32 registers.
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    /// NEON: 4 lanes, 32 registers.
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
}

impl Tier {
    /// Every tier that this machine can run, the slowest first.
    pub(crate) fn all() -> Vec<Self> {
        let mut tiers = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            tiers.extend(pulp::x86::V3::try_new().map(Self::Avx2));
            tiers.extend(pulp::x86::V4::try_new().map(Self::Avx512));
        }
        #[cfg(target_arch = "aarch64")]
        tiers.extend(pulp::aarch64::Neon::try_new().map(Self::Neon));
        tiers
    }

    /// The widest tier that this machine can run.
    pub(crate) fn best() -> Self {
        static BEST: std::sync::OnceLock<Tier> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Self::all().pop().unwrap_or(Self::Portable))
    }

    /// Runs `op` compiled for this tier.
    pub(crate) fn run<Op: WithSimd>(self, op: Op) -> Op::Output {
        match self {
            Self::Portable => Simd::vectorize(Scalar128b, op),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(simd) => Simd::vectorize(simd, op),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(simd) => Simd::vectorize(simd, op),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(simd) => Simd::vectorize(simd, op),
        }
    }
}

/// `a * b + c`, fused where the tier has the instruction. (The portable tier's fused form is a library call per lane.)
#[inline(always)]
pub(crate) fn mul_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if std::any::TypeId::of::<S>() == std::any::TypeId::of::<Scalar128b>() {
        simd.add_f32s(simd.mul_f32s(a, b), c)
    } else {
        simd.mul_add_e_f32s(a, b, c)
    }
}

/// Gives a value back, but the compiler cannot see that: a loop that moves one or two floats from or to scattered places
/// stays a loop of moves, and does not become gather and scatter instructions.
#[inline(always)]
pub(crate) fn opaque<const F: usize>(value: [f32; F]) -> [f32; F] {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    if F <= 2 {
        let mut bits = 0_u64;
        for (f, value) in value.iter().enumerate() {
            bits |= u64::from(value.to_bits()) << (32 * f);
        }
        let seen: u64;
        // SAFETY: no instruction at all.
        unsafe {
            std::arch::asm!("/* {0} */", inout(reg) bits => seen, options(pure, nomem, nostack, preserves_flags));
        }
        return std::array::from_fn(|f| f32::from_bits((seen >> (32 * f)) as u32));
    }
    value
}

/// Asks for the cache line at `address` ahead of its use. Any address will do: a prefetch never faults.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: only a hint; nothing is read, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: only a hint; nothing is read, whatever the address.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
