//! Nets in 8 bits, beside those in floats.

use super::*;
use crate::cascade::load::NetWeights;
use crate::cascade::settings::AcceptSettings;
use crate::cascade::shipped::{quantised, weights as shipped_weights};
use crate::nets::int8::quantised::file as quantised_file;

fn shipped_in(precision: Precision) -> Cascade {
    Cascade::shipped(Options { threshold: 0.1, precision, ..Options::default() }).unwrap()
}

fn shipped_in_both(net: &str) -> Result<NetWeights> {
    let (float, quantised) = (shipped_weights(net)?, quantised(net)?);
    Ok(NetWeights { float, quantised })
}

#[test]
fn the_nets_that_ship_run_in_8_bits_unless_floats_are_asked_for_and_find_the_same_faces() {
    let picture = image::open(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/astronaut.jpg")).unwrap().to_rgb8();
    let [auto, int8, floats] = [Precision::Auto, Precision::Int8, Precision::F32].map(shipped_in);
    let faces = int8.detect(&picture).unwrap();
    assert_eq!(auto.detect(&picture).unwrap(), faces);
    let expected = floats.detect(&picture).unwrap();
    assert_ne!(faces, expected);
    assert!(faces[0].rect.iou(&expected[0].rect) > 0.8, "{faces:?}, {expected:?}");
    // Only nets in 8 bits take windows for faces before the last level, if the settings say so.
    let mut settings = shipped();
    settings.proposer.accept = Some(AcceptSettings { threshold: 0.0, logit: 0.0 });
    let [int8, floats] = [Precision::Int8, Precision::F32].map(|precision| {
        let options = Options { threshold: 0.1, precision, ..Options::default() };
        Cascade::assemble(settings.clone(), &shipped_in_both, options).unwrap()
    });
    let accepted =
        |cascade: &Cascade| cascade.counts(&picture).unwrap().iter().map(|level| level.accepted).sum::<usize>();
    assert_eq!((accepted(&floats), accepted(&int8) > 0), (0, true));
    let (faces, steps) = int8.trace(&picture).unwrap();
    assert!(steps.iter().any(|step| !step.accepted.is_empty() && step.counted().ends_with("accepted")));
    let last = steps.last().unwrap();
    assert!(last.accepted.is_empty() && last.windows.len() == faces.len());
}

#[test]
fn a_net_in_8_bits_need_not_look_at_other_windows_on_a_face_that_it_found() {
    let picture = image::open(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/astronaut.jpg")).unwrap().to_rgb8();
    let skip = shipped().refiners[0].skip.clone();
    let run = |precision, skip| {
        let mut settings = shipped();
        settings.proposer.overlap = 0.9;
        settings.refiners[0].skip = skip;
        let options = Options { threshold: 0.4, precision, ..Options::default() };
        let cascade = Cascade::assemble(settings, &shipped_in_both, options).unwrap();
        let counts = cascade.counts(&picture).unwrap();
        (cascade.detect(&picture).unwrap().len(), counts[0].passed, counts[1].windows)
    };
    let [all, some] = [None, skip.clone()].map(|skip| run(Precision::Int8, skip));
    assert!(all == (1, all.2, all.1) && some.0 == 1 && some.1 == all.1 && some.2 < all.2, "{all:?}, {some:?}");
    let [all, same] = [None, skip].map(|skip| run(Precision::F32, skip));
    assert_eq!(all, same);
}

#[test]
fn weights_in_8_bits_are_taken_only_with_the_float_weights_that_they_were_made_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    std::fs::write(&file, Model::Base.file().1).unwrap();
    let load = |precision| Cascade::load(&file, Options { precision, ..Options::default() });
    for net in ["yunet", "refine64", "refine96", "smile"] {
        shipped_weights(net).unwrap().save(&folder.path().join(format!("{net}.safetensors"))).unwrap();
    }
    let missing = load(Precision::Int8).unwrap_err().to_string();
    assert!(missing.contains("yunet") && missing.contains("facecascade quantise"), "{missing}");
    assert!(!load(Precision::Auto).unwrap().proposer.is_int8());
    for net in ["yunet", "refine64", "refine96", "smile"] {
        let weights = quantised(net).unwrap().unwrap();
        weights.save(&quantised_file(folder.path(), net)).unwrap();
    }
    let whole = load(Precision::Auto).unwrap();
    assert!(whole.proposer.is_int8() && whole.refiners.iter().all(Refiner::is_int8));
    assert!(!load(Precision::F32).unwrap().proposer.is_int8());
    weights("refine64", 3).save(&folder.path().join("refine64.safetensors")).unwrap();
    let other = load(Precision::Int8).unwrap_err().to_string();
    assert!(other.contains("refine64") && other.contains("other float weights"), "{other}");
    let mixed = load(Precision::Auto).unwrap();
    assert!(mixed.proposer.is_int8() && !mixed.refiners[0].is_int8());
}

#[test]
fn a_cascade_that_watched_pictures_makes_8_bit_weights_of_all_its_nets() {
    let mut watching = cascade(shipped(), 0.0).observing();
    assert!(watching.quantise().unwrap_err().to_string().contains("no sample"));
    watching.detect(&picture(120, 90, 3)).unwrap();
    let made = watching.quantise().unwrap();
    assert_eq!(made.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["yunet", "refine64", "refine96", "smile"]);
    for (name, quantised) in made {
        quantised.check(&zoo::by_name(name).unwrap(), name).unwrap();
        assert!(quantised.is_made_from(&weights(name, name.len() as u64)));
    }
}
