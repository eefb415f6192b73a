//! Makes a data folder to train on.

use std::path::Path;

/// First line of the annotations of `wider/`.
pub const WIDER: &str = "split,image,width,height,x,y,w,h,blur,expression,illumination,invalid,occlusion,pose\n";

/// A data folder in which every set has a few pictures: portraits at several sizes on a coloured ground.
pub fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |p: &str| folder.path().join(p);
    for sub in ["wider/train", "wider_faces/x", "mtfl/train", "negatives/x"] {
        std::fs::create_dir_all(at(sub)).unwrap();
    }
    let portrait = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/astronaut.jpg");
    let portrait = image::open(portrait).unwrap().to_rgb8();
    let ground = |w, h, seed: u32| {
        image::RgbImage::from_fn(w, h, |x, y| {
            image::Rgb([(x + seed * 40) as u8, (y * 2) as u8, ((x ^ y) * seed) as u8])
        })
    };
    let (mut wider, mut pictures) = (WIDER.to_string(), "split,image,width,height,faces\n".to_string());
    let mut negatives = "image,width,height,source\n".to_string();
    for (i, side) in [64u32, 100, 150, 220].into_iter().enumerate() {
        let mut picture = ground(320, 240, i as u32 + 1);
        let small = image::imageops::resize(&portrait, side, side, image::imageops::FilterType::Triangle);
        image::imageops::replace(&mut picture, &small, 20 + 15 * i as i64, 10);
        picture.save(at(&format!("wider/train/{i}.png"))).unwrap();
        // Her face, as shares of the portrait.
        let scale = side as f32;
        let (x, y) = (0.35f32.mul_add(scale, 20.0 + 15.0 * i as f32), 0.13f32.mul_add(scale, 10.0));
        let (w, h) = (0.18 * scale, 0.25 * scale);
        wider += &format!("train,train/{i}.png,320,240,{x},{y},{w},{h},0,0,0,0,0,0\n");
        pictures += &format!("train,train/{i}.png,320,240,1\n");
        ground(160, 120, i as u32 + 9).save(at(&format!("negatives/x/{i}.png"))).unwrap();
        negatives += &format!("x/{i}.png,160,120,made\n");
    }
    std::fs::write(at("wider/annotations.csv"), wider).unwrap();
    std::fs::write(at("wider/images.csv"), pictures).unwrap();
    std::fs::write(at("negatives/images.csv"), negatives).unwrap();
    portrait.save(at("wider_faces/x/a.png")).unwrap();
    let head =
        "image,size,x,y,w,h,blur,expression,illumination,occlusion,pose,pad_l,pad_t,pad_r,pad_b,source,face_height";
    std::fs::write(
        at("wider_faces/annotations.csv"),
        format!("{head}\nx/a.png,512,180,65,92,128,0,0,0,0,0,0,0,0,0,a,128\n"),
    )
    .unwrap();
    portrait.save(at("mtfl/train/a.png")).unwrap();
    let landmarks: String = (1..=5).map(|i| format!("lx{i},ly{i},")).collect();
    let head = format!("split,image,x,y,w,h,smile,glasses,pose,{landmarks}size,pad_l,pad_t,pad_r,pad_b");
    let row = "train,train/a.png,180,65,92,128,1,0,3,205,110,245,110,225,135,208,155,242,155,512,0,0,0,0";
    std::fs::write(at("mtfl/annotations.csv"), format!("{head}\n{row}\n")).unwrap();
    folder
}

/// Lets the pictures to learn from serve to validate on, too.
pub fn add_validation(data: &Path) {
    for file in ["annotations.csv", "images.csv"] {
        let path = data.join("wider").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let rows = text.lines().skip(1).map(|row| row.replacen("train,", "val,", 1) + "\n");
        std::fs::write(&path, text.clone() + &rows.collect::<String>()).unwrap();
    }
}
