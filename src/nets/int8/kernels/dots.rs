//! A vector of 32-bit sums of products of bytes, as wide as the machine's, so that kernels are written once.
//!
//! Every product is one of an unsigned activation and a signed weight, four to a sum. Sums are exact, and the only rounding is the
//! one of [`Dots::rounded`], to the nearest integer and of two the even one; so all instruction sets give the same bytes.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

/// The instruction sets that the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 with dot products of bytes (VNNI), 64 products an instruction, and permutations of bytes (VBMI).
    Vnni,
    /// AVX2: bytes are widened, as its own product of bytes saturates.
    Avx2,
    /// NEON with dot products of bytes (`dotprod`: processors from about 2018 on), 16 products an instruction.
    NeonDot,
    /// NEON.
    Neon,
    /// Plain Rust.
    Portable,
}

impl Isa {
    /// The fastest that this machine has.
    pub fn best() -> Self {
        static BEST: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Self::available().next().unwrap_or(Self::Portable))
    }

    /// All that this machine has, fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        [Self::Vnni, Self::Avx2, Self::NeonDot, Self::Neon, Self::Portable].into_iter().filter(|isa| isa.is_available())
    }

    /// Sums in a vector.
    pub(in crate::nets::int8) fn lanes(self) -> usize {
        if self == Self::Vnni { 16 } else { 8 }
    }

    /// What is taken from every activation before it is multiplied: NEON multiplies bytes that are both signed. Sums begin with
    /// what that takes from them.
    pub(super) fn offset(self) -> i32 {
        if matches!(self, Self::NeonDot | Self::Neon) { 128 } else { 0 }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn is_available(self) -> bool {
        match self {
            Self::Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vbmi")
                    && is_x86_feature_detected!("avx512vnni")
            }
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::NeonDot | Self::Neon => false,
            Self::Portable => true,
        }
    }

    #[cfg(target_arch = "aarch64")]
    #[inline]
    fn is_available(self) -> bool {
        match self {
            Self::Vnni | Self::Avx2 => false,
            Self::NeonDot => std::arch::is_aarch64_feature_detected!("dotprod"),
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Self::Portable => true,
        }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn is_available(self) -> bool {
        self == Self::Portable
    }

    /// Runs a kernel in the version for this instruction set.
    #[inline]
    pub(super) fn run<K: Kernel>(self, kernel: K) {
        assert!(self.is_available(), "{self:?} is not on this machine");
        match self {
            // SAFETY: the assertion above holds the instruction set's presence.
            #[cfg(target_arch = "x86_64")]
            Self::Vnni => unsafe { run_vnni(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { run_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => unsafe { run_neon_dot(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Self::Neon => unsafe { kernel.run::<neon::Neon>() },
            // SAFETY: plain Rust needs no instruction set.
            _ => unsafe { kernel.run::<Portable>() },
        }
    }
}

/// Work that can be compiled for any vector width. `run` must be `#[inline(always)]`, so that it takes on the
/// instruction set of its caller.
pub(super) trait Kernel {
    /// # Safety
    /// The machine has the instruction set of `D`.
    unsafe fn run<D: Dots>(self);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni,avx2")]
fn run_vnni<K: Kernel>(kernel: K) {
    // SAFETY: this function's own features are those of the vector.
    unsafe { kernel.run::<x86::Vnni>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2<K: Kernel>(kernel: K) {
    // SAFETY: this function's own features are those of the vector.
    unsafe { kernel.run::<x86::Avx2>() }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
fn run_neon_dot<K: Kernel>(kernel: K) {
    // SAFETY: this function's own features are those of the vector.
    unsafe { kernel.run::<neon::NeonDot>() }
}

/// A vector of `N` 32-bit sums.
///
/// # Safety
/// All functions need the instruction set; loads and stores need as many valid values behind the pointer as they say.
pub(super) trait Dots: Copy {
    /// Sums in the vector.
    const N: usize;
    /// Pixels of the matrix kernel's register block: as many as the registers hold beside two vectors of weights.
    const PIXELS: usize;
    /// Four activations for each sum.
    type Bytes: Copy;
    /// Four weights for each sum.
    type Weights: Copy;
    /// A real number for each sum.
    type Reals: Copy;
    /// `N` sums.
    unsafe fn load(p: *const i32) -> Self;
    /// `N` numbers.
    unsafe fn reals(p: *const f32) -> Self::Reals;
    /// The same four bytes for every sum.
    unsafe fn same(p: *const u8) -> Self::Bytes;
    /// 4 `N` bytes, four for each sum.
    unsafe fn quads(p: *const u32) -> Self::Bytes;
    /// 4 `N` weights, four for each sum.
    unsafe fn weights(p: *const i8) -> Self::Weights;
    /// Adds four products to each sum, of activations from which [`Isa::offset`] is taken.
    unsafe fn dot(self, bytes: Self::Bytes, weights: Self::Weights) -> Self;
    /// The integers nearest to the sums × `by`, of two the even one; products must lie within ±2³¹.
    unsafe fn rounded(self, by: Self::Reals) -> Self;
    /// Stores the sums as `N` bytes: what lies outside of 0..=255 becomes 0 or 255.
    unsafe fn store_bytes(self, p: *mut u8);
    /// The same, as byte `slot` of each of `N` groups of four.
    unsafe fn store_quads(self, p: *mut u32, slot: u32);
    /// Stores max(sums × `by`, `floor`) of the first `n` ≤ `N` sums.
    unsafe fn store_reals(self, by: Self::Reals, floor: f32, p: *mut f32, n: usize);
}

#[derive(Clone, Copy)]
pub(super) struct Portable([i32; 8]);

impl Dots for Portable {
    const N: usize = 8;
    const PIXELS: usize = 4;
    type Bytes = [[u8; 4]; 8];
    type Weights = [[i8; 4]; 8];
    type Reals = [f32; 8];
    #[inline(always)]
    unsafe fn load(p: *const i32) -> Self {
        // SAFETY: the caller has 8 values there, as in all loads and stores below; arrays are no stricter aligned than their values.
        Self(unsafe { *p.cast() })
    }
    #[inline(always)]
    unsafe fn reals(p: *const f32) -> Self::Reals {
        // SAFETY: as load.
        unsafe { *p.cast() }
    }
    #[inline(always)]
    unsafe fn same(p: *const u8) -> Self::Bytes {
        // SAFETY: as load, 4 bytes.
        [unsafe { *p.cast() }; 8]
    }
    #[inline(always)]
    unsafe fn quads(p: *const u32) -> Self::Bytes {
        // SAFETY: as load.
        let quads: [u32; 8] = unsafe { *p.cast() };
        quads.map(u32::to_le_bytes)
    }
    #[inline(always)]
    unsafe fn weights(p: *const i8) -> Self::Weights {
        // SAFETY: as load, 32 weights.
        unsafe { *p.cast() }
    }
    #[inline(always)]
    unsafe fn dot(self, bytes: Self::Bytes, weights: Self::Weights) -> Self {
        Self(std::array::from_fn(|i| {
            (0..4).fold(self.0[i], |sum, k| sum + i32::from(bytes[i][k]) * i32::from(weights[i][k]))
        }))
    }
    #[inline(always)]
    unsafe fn rounded(self, by: Self::Reals) -> Self {
        Self(std::array::from_fn(|i| (self.0[i] as f32 * by[i]).round_ties_even() as i32))
    }
    #[inline(always)]
    unsafe fn store_bytes(self, p: *mut u8) {
        // SAFETY: as load.
        unsafe { *p.cast() = self.0.map(|v| v.clamp(0, 255) as u8) }
    }
    #[inline(always)]
    unsafe fn store_quads(self, p: *mut u32, slot: u32) {
        let shift = 8 * slot;
        // SAFETY: as load.
        let quads: &mut [u32; 8] = unsafe { &mut *p.cast() };
        for (quad, v) in quads.iter_mut().zip(self.0) {
            *quad = *quad & !(255 << shift) | (v.clamp(0, 255) as u32) << shift;
        }
    }
    #[inline(always)]
    unsafe fn store_reals(self, by: Self::Reals, floor: f32, p: *mut f32, n: usize) {
        for (i, (sum, by)) in self.0.into_iter().zip(by).enumerate().take(n) {
            // SAFETY: i < n, and the caller has n numbers there.
            unsafe { *p.add(i) = (sum as f32 * by).max(floor) }
        }
    }
}
