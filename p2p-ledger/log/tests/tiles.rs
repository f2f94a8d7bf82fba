//! Files of a log: never changed, complete for every checkpoint, and good for every proof.

mod disk;

use disk::{Disk, entry, grown};
use proptest::prelude::*;
use tally_log::*;

#[test]
fn paths_are_those_of_the_specification() {
    let tile = |level, index, width| Resource::Tile {
        level,
        index,
        width,
    };
    for (resource, path) in [
        (tile(0, 0, 256), "tile/0/000"),
        (tile(3, 1_234_067, 256), "tile/3/x001/x234/067"),
        (tile(1, 1_000, 17), "tile/1/x001/000.p/17"),
        (
            Resource::Entries {
                index: 255,
                width: 255,
            },
            "tile/entries/255.p/255",
        ),
        (
            tile(0, u64::MAX, 1),
            "tile/0/x018/x446/x744/x073/x709/x551/615.p/1",
        ),
    ] {
        assert_eq!(resource.path(), path);
        assert_eq!(Resource::at(path), Some(resource));
    }
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/001",
        "tile/00/001",
        "tile/64/001",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/001.p/01",
        "tile/0/-01",
        "tile/data/001",
        "/tile/0/001",
        "tile/0/001/",
        "tile/0/../001",
        "tile/entries/x001",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
    ] {
        assert_eq!(Resource::at(path), None, "{path:?}");
    }
}

/// The example of c2sp.org/tlog-tiles.
#[test]
fn a_log_of_70000_entries_has_the_tiles_of_the_specifications_example() {
    let disk = grown(&[70_000]);
    let count = |level, full| {
        disk.resources()
            .filter(|resource| match resource {
                Resource::Tile {
                    level: found,
                    width,
                    ..
                } => *found == level && (*width == 256) == full,
                Resource::Entries { .. } => false,
            })
            .count()
    };
    assert_eq!((count(0, true), count(0, false)), (273, 1));
    assert_eq!((count(1, true), count(1, false)), (1, 1));
    assert_eq!((count(2, true), count(2, false)), (0, 1));
    for path in [
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
        "tile/entries/273.p/112",
    ] {
        assert!(disk.get(path).is_some(), "{path}");
    }
}

#[test]
fn a_log_that_stops_and_resumes_writes_the_same_files() {
    let sizes = [
        0u64, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_793, 66_000,
    ];
    let (mut disk, mut tiler) = (Disk::default(), Tiler::new());
    for size in sizes {
        disk.grow(&mut tiler, size);
        let resumed = Tiler::resume(size, |resource| disk.read(resource)).unwrap();
        assert_eq!(resumed, tiler);
        tiler = resumed;
    }
    let mut frontier = Frontier::new();
    frontier.extend((0..66_000).map(|index| leaf_hash(&entry(index))));
    for size in sizes {
        let tree = TiledTree::new(size, |resource| disk.read(resource));
        let mut frontier = Frontier::new();
        frontier.extend((0..size).map(|index| leaf_hash(&entry(index))));
        assert_eq!(root_of(&tree, size).unwrap(), frontier.root());
    }
    let bundle = disk.get("tile/entries/001").unwrap();
    let entries = entries_of(bundle).unwrap();
    assert_eq!(entries.len(), 256);
    assert!(
        entries
            .iter()
            .zip(256..)
            .all(|(found, index)| *found == entry(index))
    );
    assert!(entries_of(&bundle[..bundle.len() - 1]).is_none());
}

#[test]
fn damaged_files_and_false_tiles_are_found() {
    let mut disk = grown(&[600]);
    let root = root_of(&TiledTree::new(600, |resource| disk.read(resource)), 600).unwrap();
    disk.get_mut("tile/0/001").unwrap()[40] ^= 1;
    let tree = TiledTree::new(600, |resource| disk.read(resource));
    let proof = prove_inclusion(&tree, 300, 600).unwrap().unwrap();
    assert!(
        proof
            .verify(leaf_hash(&entry(300)), 300, 600, root)
            .is_err()
    );
    disk.get_mut("tile/0/001").unwrap().pop();
    let tree = TiledTree::new(600, |resource| disk.read(resource));
    assert!(matches!(
        prove_inclusion(&tree, 300, 600),
        Err(TileError::Length { .. })
    ));
    disk.get_mut("tile/entries/002.p/88").unwrap().truncate(100);
    let resumed = Tiler::resume(600, |resource| disk.read(resource));
    assert!(matches!(resumed, Err(TileError::Entries { .. })));
    assert!(matches!(
        prove_inclusion(&TiledTree::new(600, |resource| disk.read(resource)), 3, 700),
        Err(TileError::NotInTree { .. } | TileError::Length { .. })
    ));
}

#[test]
fn an_entry_that_is_too_long_appends_nothing() {
    let mut tiler = Tiler::new();
    let (short, long) = (vec![0; MAX_ENTRY_BYTES], vec![0; MAX_ENTRY_BYTES + 1]);
    let both = [short.as_slice(), long.as_slice()];
    assert!(tiler.append(both).is_err());
    assert_eq!(tiler, Tiler::new());
    assert!(tiler.append([short.as_slice()]).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn proofs_from_files_are_those_of_the_tree_in_memory(
        steps in prop::collection::vec(1u64..700, 1..6), at: u64, from: u64,
    ) {
        let sizes: Vec<u64> = steps.iter().scan(0, |sum, step| { *sum += step; Some(*sum) }).collect();
        let disk = grown(&sizes);
        let size = *sizes.last().unwrap();
        let mut tree = HashTree::new();
        for index in 0..size {
            tree.append(leaf_hash(&entry(index)));
        }
        for size in sizes {
            // Every file that a checkpoint of this size needs is there, though the log went on.
            let tiled = TiledTree::new(size, |resource| disk.read(resource));
            let (index, old) = (at % size, from % (size + 1));
            let root = root_of(&tree, size).unwrap();
            prop_assert_eq!(root_of(&tiled, size).unwrap(), root);
            let proof = prove_inclusion(&tiled, index, size).unwrap().unwrap();
            prop_assert_eq!(Some(proof.clone()), prove_inclusion(&tree, index, size).unwrap());
            prop_assert_eq!(proof.verify(leaf_hash(&entry(index)), index, size, root), Ok(()));
            let proof = prove_consistency(&tiled, old, size).unwrap().unwrap();
            prop_assert_eq!(Some(proof.clone()), prove_consistency(&tree, old, size).unwrap());
            prop_assert_eq!(proof.verify(old, root_of(&tree, old).unwrap(), size, root), Ok(()));
        }
    }
}
