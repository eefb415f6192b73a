//! The sums of 64-bit ARM: NEON, with and without dot products of bytes.
//!
//! Both multiply two signed bytes, so 128 is taken from every activation ([`super::Isa::offset`]). Weights are at least −127: then two
//! products fit into 16 bits, which NEON without dot products relies on.

use std::arch::aarch64::*;
use std::arch::asm;

use super::Dots;

/// An activation less 128, as a signed byte.
#[inline(always)]
unsafe fn signed(bytes: uint8x16_t) -> int8x16_t {
    // SAFETY: arithmetic only; the caller has the instruction set, here and below.
    unsafe { vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(128))) }
}

/// Numbers within 0..=255, cut to it.
#[inline(always)]
unsafe fn clamped(sums: int32x4_t) -> uint32x4_t {
    // SAFETY: see above.
    unsafe { vreinterpretq_u32_s32(vminq_s32(vmaxq_s32(sums, vdupq_n_s32(0)), vdupq_n_s32(255))) }
}

/// A real number for each sum.
#[inline(always)]
unsafe fn scaled(sums: int32x4_t, by: float32x4_t) -> float32x4_t {
    // SAFETY: see above.
    unsafe { vmulq_f32(vcvtq_f32_s32(sums), by) }
}

macro_rules! dots {
    ($(#[$about:meta])* $name:ident, $pixels:literal, $dot:ident) => {
        $(#[$about])*
        #[derive(Clone, Copy)]
        pub(super) struct $name([int32x4_t; 2]);

        // SAFETY of all blocks below: the trait's contract, which asks just what the intrinsics ask.
        #[allow(clippy::undocumented_unsafe_blocks)]
        impl Dots for $name {
            const N: usize = 8;
            const PIXELS: usize = $pixels;
            type Bytes = [int8x16_t; 2];
            type Weights = [int8x16_t; 2];
            type Reals = [float32x4_t; 2];
            #[inline(always)]
            unsafe fn load(p: *const i32) -> Self {
                Self(unsafe { [vld1q_s32(p), vld1q_s32(p.add(4))] })
            }
            #[inline(always)]
            unsafe fn reals(p: *const f32) -> Self::Reals {
                unsafe { [vld1q_f32(p), vld1q_f32(p.add(4))] }
            }
            #[inline(always)]
            unsafe fn same(p: *const u8) -> Self::Bytes {
                unsafe { [signed(vreinterpretq_u8_u32(vdupq_n_u32(p.cast::<u32>().read_unaligned()))); 2] }
            }
            #[inline(always)]
            unsafe fn quads(p: *const u32) -> Self::Bytes {
                unsafe { [p, p.add(4)].map(|p| signed(vreinterpretq_u8_u32(vld1q_u32(p)))) }
            }
            #[inline(always)]
            unsafe fn weights(p: *const i8) -> Self::Weights {
                unsafe { [vld1q_s8(p), vld1q_s8(p.add(16))] }
            }
            #[inline(always)]
            unsafe fn dot(self, bytes: Self::Bytes, weights: Self::Weights) -> Self {
                unsafe { Self([$dot(self.0[0], bytes[0], weights[0]), $dot(self.0[1], bytes[1], weights[1])]) }
            }
            #[inline(always)]
            unsafe fn rounded(self, by: Self::Reals) -> Self {
                unsafe { Self([vcvtnq_s32_f32(scaled(self.0[0], by[0])), vcvtnq_s32_f32(scaled(self.0[1], by[1]))]) }
            }
            #[inline(always)]
            unsafe fn store_bytes(self, p: *mut u8) {
                unsafe { vst1_u8(p, vqmovn_u16(vcombine_u16(vqmovun_s32(self.0[0]), vqmovun_s32(self.0[1])))) }
            }
            #[inline(always)]
            unsafe fn store_quads(self, p: *mut u32, slot: u32) {
                unsafe {
                    let shift = vdupq_n_s32(8 * slot as i32);
                    let mask = vshlq_u32(vdupq_n_u32(255), shift);
                    for (sums, p) in [(self.0[0], p), (self.0[1], p.add(4))] {
                        let new = vshlq_u32(clamped(sums), shift);
                        vst1q_u32(p, vorrq_u32(vbicq_u32(vld1q_u32(p), mask), new));
                    }
                }
            }
            #[inline(always)]
            unsafe fn store_reals(self, by: Self::Reals, floor: f32, p: *mut f32, n: usize) {
                let mut all = [0.0; 8];
                unsafe {
                    let floor = vdupq_n_f32(floor);
                    vst1q_f32(all.as_mut_ptr(), vmaxnmq_f32(scaled(self.0[0], by[0]), floor));
                    vst1q_f32(all.as_mut_ptr().add(4), vmaxnmq_f32(scaled(self.0[1], by[1]), floor));
                    p.copy_from_nonoverlapping(all.as_ptr(), n);
                }
            }
        }
    };
}

dots!(
    /// Needs `dotprod`.
    NeonDot,
    6,
    dot_of_bytes
);

dots!(
    /// Needs nothing that not every 64-bit ARM has.
    Neon,
    4,
    dot_of_pairs
);

/// Adds four products to each sum by one instruction, for which there is no stable intrinsic yet.
#[inline(always)]
unsafe fn dot_of_bytes(mut sums: int32x4_t, bytes: int8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: arithmetic on registers; the caller has the instruction.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {bytes:v}.16b, {weights:v}.16b",
            sums = inout(vreg) sums,
            bytes = in(vreg) bytes,
            weights = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// Adds four products to each sum, two of which are added in 16 bits first.
#[inline(always)]
unsafe fn dot_of_pairs(sums: int32x4_t, bytes: int8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: arithmetic only.
    unsafe {
        let low = vmull_s8(vget_low_s8(bytes), vget_low_s8(weights));
        vpadalq_s16(sums, vpaddq_s16(low, vmull_high_s8(bytes, weights)))
    }
}
