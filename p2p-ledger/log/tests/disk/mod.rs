//! A log's files in memory. Writing one that is there with other bytes fails the test: files never change.

#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;

use tally_log::*;

#[derive(Default)]
pub(crate) struct Disk(BTreeMap<String, Vec<u8>>);

/// Entry number `index`: of different lengths, some empty.
pub(crate) fn entry(index: u64) -> Vec<u8> {
    index.to_string().repeat((index % 4) as usize).into_bytes()
}

/// The files of a log that had a checkpoint of each of these sizes.
pub(crate) fn grown(sizes: &[u64]) -> Disk {
    let (mut disk, mut tiler) = (Disk::default(), Tiler::new());
    for size in sizes {
        disk.grow(&mut tiler, *size);
    }
    disk
}

impl Disk {
    pub(crate) fn grow(&mut self, tiler: &mut Tiler, to: u64) {
        let entries: Vec<Vec<u8>> = (tiler.size()..to).map(entry).collect();
        for file in tiler.append(entries.iter().map(Vec::as_slice)).unwrap() {
            let path = file.resource.path();
            if let Some(before) = self.0.insert(path.clone(), file.bytes.clone()) {
                assert_eq!(before, file.bytes, "{path} changed");
            }
        }
        assert_eq!(tiler.size(), to);
    }

    pub(crate) fn read(&self, resource: Resource) -> Result<Vec<u8>, String> {
        let path = resource.path();
        self.0
            .get(&path)
            .cloned()
            .ok_or(format!("{path} is not there"))
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Vec<u8>> {
        self.0.get(path)
    }

    pub(crate) fn get_mut(&mut self, path: &str) -> Option<&mut Vec<u8>> {
        self.0.get_mut(path)
    }

    pub(crate) fn resources(&self) -> impl Iterator<Item = Resource> {
        self.0.keys().map(|path| Resource::at(path).unwrap())
    }

    pub(crate) fn write_to(&self, folder: &std::path::Path) {
        for (path, bytes) in &self.0 {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
}
