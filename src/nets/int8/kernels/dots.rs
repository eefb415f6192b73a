//! A vector of 32-bit sums of products of bytes, as wide as the machine's, so that kernels are written once.
//!
//! Every product is one of an unsigned activation and a signed weight, four to a sum. Sums are exact, and the only rounding is the
//! one of [`Dots::rounded`], to the nearest integer and of two the even one; so all instruction sets give the same bytes.

/// The instruction sets that the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 with dot products of bytes (VNNI), 64 products an instruction, and permutations of bytes (VBMI).
    Vnni,
    /// AVX2: bytes are widened, as its own product of bytes saturates.
    Avx2,
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
        [Self::Vnni, Self::Avx2, Self::Portable].into_iter().filter(|isa| isa.is_available())
    }

    /// Sums in a vector.
    pub(in crate::nets::int8) fn lanes(self) -> usize {
        if self == Self::Vnni { 16 } else { 8 }
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
            Self::Portable => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
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
    /// Adds four products to each sum.
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

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Dots;

    /// The lowest byte of each of sixteen sums.
    static LOWEST: Indices = {
        // SAFETY: sixteen bytes are a vector.
        Indices(unsafe {
            std::mem::transmute::<[u8; 16], __m128i>([0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60])
        })
    };

    #[derive(Clone, Copy)]
    struct Indices(__m128i);

    #[derive(Clone, Copy)]
    pub(super) struct Vnni(__m512i);

    // SAFETY of all blocks below: the trait's contract, which asks just what the intrinsics ask.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Dots for Vnni {
        const N: usize = 16;
        const PIXELS: usize = 12;
        type Bytes = __m512i;
        type Weights = __m512i;
        type Reals = __m512;
        #[inline(always)]
        unsafe fn load(p: *const i32) -> Self {
            Self(unsafe { _mm512_loadu_si512(p.cast()) })
        }
        #[inline(always)]
        unsafe fn reals(p: *const f32) -> Self::Reals {
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn same(p: *const u8) -> Self::Bytes {
            unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
        }
        #[inline(always)]
        unsafe fn quads(p: *const u32) -> Self::Bytes {
            unsafe { _mm512_loadu_si512(p.cast()) }
        }
        #[inline(always)]
        unsafe fn weights(p: *const i8) -> Self::Weights {
            unsafe { _mm512_loadu_si512(p.cast()) }
        }
        #[inline(always)]
        unsafe fn dot(self, bytes: Self::Bytes, weights: Self::Weights) -> Self {
            Self(unsafe { _mm512_dpbusd_epi32(self.0, bytes, weights) })
        }
        #[inline(always)]
        unsafe fn rounded(self, by: Self::Reals) -> Self {
            Self(unsafe { _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(self.0), by)) })
        }
        #[inline(always)]
        unsafe fn store_bytes(self, p: *mut u8) {
            unsafe {
                // Volatile, so that the compiler does not see that it could narrow and store with one instruction, which is slow on Zen 4.
                let first = _mm512_castsi128_si512(std::ptr::read_volatile(&raw const LOWEST).0);
                let least = _mm512_max_epi32(self.0, _mm512_setzero_si512());
                let clamped = _mm512_min_epi32(least, _mm512_set1_epi32(255));
                _mm_storeu_si128(p.cast(), _mm512_castsi512_si128(_mm512_permutexvar_epi8(first, clamped)));
            }
        }
        #[inline(always)]
        unsafe fn store_quads(self, p: *mut u32, slot: u32) {
            unsafe {
                let shift = _mm_cvtsi32_si128(8 * slot as i32);
                let byte = _mm512_set1_epi32(255);
                let clamped = _mm512_min_epi32(_mm512_max_epi32(self.0, _mm512_setzero_si512()), byte);
                let (new, mask) = (_mm512_sll_epi32(clamped, shift), _mm512_sll_epi32(byte, shift));
                let old = _mm512_loadu_si512(p.cast());
                // The bits of `new` where `mask` has ones, else those of `old`.
                _mm512_storeu_si512(p.cast(), _mm512_ternarylogic_epi32::<0xd8>(old, new, mask));
            }
        }
        #[inline(always)]
        unsafe fn store_reals(self, by: Self::Reals, floor: f32, p: *mut f32, n: usize) {
            unsafe {
                let reals = _mm512_max_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(self.0), by), _mm512_set1_ps(floor));
                _mm512_mask_storeu_ps(p, ((1u32 << n) - 1) as __mmask16, reals);
            }
        }
    }

    #[derive(Clone, Copy)]
    pub(super) struct Avx2(__m256i);

    // SAFETY of all blocks below: the trait's contract, which asks just what the intrinsics ask.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Dots for Avx2 {
        const N: usize = 8;
        const PIXELS: usize = 4;
        /// Bytes 0 and 2 of each group, and bytes 1 and 3, as 16-bit numbers.
        type Bytes = [__m256i; 2];
        type Weights = [__m256i; 2];
        type Reals = __m256;
        #[inline(always)]
        unsafe fn load(p: *const i32) -> Self {
            Self(unsafe { _mm256_loadu_si256(p.cast()) })
        }
        #[inline(always)]
        unsafe fn reals(p: *const f32) -> Self::Reals {
            unsafe { _mm256_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn same(p: *const u8) -> Self::Bytes {
            unsafe { widened(_mm256_set1_epi32(p.cast::<i32>().read_unaligned())) }
        }
        #[inline(always)]
        unsafe fn quads(p: *const u32) -> Self::Bytes {
            unsafe { widened(_mm256_loadu_si256(p.cast())) }
        }
        #[inline(always)]
        unsafe fn weights(p: *const i8) -> Self::Weights {
            unsafe {
                let weights = _mm256_loadu_si256(p.cast());
                [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(weights)), _mm256_srai_epi16::<8>(weights)]
            }
        }
        #[inline(always)]
        unsafe fn dot(self, bytes: Self::Bytes, weights: Self::Weights) -> Self {
            unsafe {
                let even = _mm256_add_epi32(self.0, _mm256_madd_epi16(bytes[0], weights[0]));
                Self(_mm256_add_epi32(even, _mm256_madd_epi16(bytes[1], weights[1])))
            }
        }
        #[inline(always)]
        unsafe fn rounded(self, by: Self::Reals) -> Self {
            Self(unsafe { _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(self.0), by)) })
        }
        #[inline(always)]
        unsafe fn store_bytes(self, p: *mut u8) {
            unsafe {
                let (low, high) = (_mm256_castsi256_si128(self.0), _mm256_extracti128_si256::<1>(self.0));
                let words = _mm_packs_epi32(low, high);
                _mm_storel_epi64(p.cast(), _mm_packus_epi16(words, words));
            }
        }
        #[inline(always)]
        unsafe fn store_quads(self, p: *mut u32, slot: u32) {
            unsafe {
                let shift = _mm_cvtsi32_si128(8 * slot as i32);
                let byte = _mm256_set1_epi32(255);
                let clamped = _mm256_min_epi32(_mm256_max_epi32(self.0, _mm256_setzero_si256()), byte);
                let (new, mask) = (_mm256_sll_epi32(clamped, shift), _mm256_sll_epi32(byte, shift));
                let old = _mm256_andnot_si256(mask, _mm256_loadu_si256(p.cast()));
                _mm256_storeu_si256(p.cast(), _mm256_or_si256(old, new));
            }
        }
        #[inline(always)]
        unsafe fn store_reals(self, by: Self::Reals, floor: f32, p: *mut f32, n: usize) {
            unsafe {
                let reals = _mm256_max_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(self.0), by), _mm256_set1_ps(floor));
                let mut all = [0.0; 8];
                _mm256_storeu_ps(all.as_mut_ptr(), reals);
                p.copy_from_nonoverlapping(all.as_ptr(), n);
            }
        }
    }

    /// The bytes of each 16-bit number, each as one of its own.
    #[inline(always)]
    unsafe fn widened(bytes: __m256i) -> [__m256i; 2] {
        // SAFETY: arithmetic only; the caller has the instruction set.
        unsafe { [_mm256_and_si256(bytes, _mm256_set1_epi16(255)), _mm256_srli_epi16::<8>(bytes)] }
    }
}
