// Reads a log that the Rust crate wrote, with Go's golang.org/x/mod/sumdb packages, which nobody here wrote.
//
//	check DIR
//
// DIR has: the log's files below log/; keys, one verifier key a line; proofs/INDEX and trees/SIZE, each the root of the
// tree it is about, then the hashes of a proof, all in base64, one a line. For each proof, Go must come to the same
// hashes from the tiles, and must accept it; with one bit altered, it must not.
package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	check(err)
	return data
}

// A cosigner's key: c2sp.org/tlog-cosignature on top of Go's note.Verifier.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }
func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 72 {
		return false
	}
	at := binary.BigEndian.Uint64(sig)
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, msg)
	return ed25519.Verify(c.key, []byte(signed), sig[8:])
}

func verifier(vkey string) note.Verifier {
	parts := strings.SplitN(vkey, "+", 3)
	key, err := base64.StdEncoding.DecodeString(parts[2])
	check(err)
	if key[0] != 4 {
		v, err := note.NewVerifier(vkey)
		check(err)
		return v
	}
	hash, err := strconv.ParseUint(parts[1], 16, 32)
	check(err)
	return cosigner{parts[0], uint32(hash), key[1:]}
}

// Tiles as files. Go writes the height into a path and calls a level of entries "data"; C2SP does not.
type tiles struct{ dir string }

func (t tiles) Height() int { return 8 }
func (t tiles) ReadTiles(list []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range list {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.dir, path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// The root and the hashes of a proof, and what they are about.
func proofs(pattern string, each func(about int64, root tlog.Hash, hashes []tlog.Hash)) int {
	files, err := filepath.Glob(pattern)
	check(err)
	for _, file := range files {
		about, err := strconv.ParseInt(filepath.Base(file), 10, 64)
		check(err)
		var hashes []tlog.Hash
		for _, line := range strings.Fields(string(read(file))) {
			hash, err := tlog.ParseHash(line)
			check(err)
			hashes = append(hashes, hash)
		}
		each(about, hashes[0], hashes[1:])
	}
	return len(files)
}

func same(one, other []tlog.Hash) bool {
	if len(one) != len(other) {
		return false
	}
	for i := range one {
		if one[i] != other[i] {
			return false
		}
	}
	return true
}

func main() {
	dir := os.Args[1]
	var verifiers []note.Verifier
	for _, vkey := range strings.Fields(string(read(filepath.Join(dir, "keys")))) {
		verifiers = append(verifiers, verifier(vkey))
	}
	msg := read(filepath.Join(dir, "log/checkpoint"))
	opened, err := note.Open(msg, note.VerifierList(verifiers...))
	check(err)
	if len(opened.Sigs) != len(verifiers) || len(opened.UnverifiedSigs) != 0 {
		log.Fatalf("%d of %d signatures hold", len(opened.Sigs), len(verifiers))
	}
	if _, err := note.Open(bytes.Replace(msg, []byte("\n"), []byte("x\n"), 1), note.VerifierList(verifiers...)); err == nil {
		log.Fatal("an altered checkpoint was opened")
	}
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(lines[2])
	check(err)

	// The reader checks every tile against the root as it reads it.
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tiles{filepath.Join(dir, "log")})
	computed, err := tlog.TreeHash(size, reader)
	check(err)
	if computed != root {
		log.Fatalf("the tiles have the root %v, not %v", computed, root)
	}

	var leaves []tlog.Hash
	for n := int64(0); n*256 < size; n++ {
		path := strings.Replace(tlog.Tile{H: 8, L: -1, N: n, W: 256}.Path(), "tile/8/data/", "tile/entries/", 1)
		if rest := size - n*256; rest < 256 {
			path += fmt.Sprintf(".p/%d", rest)
		}
		for data := read(filepath.Join(dir, "log", path)); len(data) > 0; {
			length := 2 + int(binary.BigEndian.Uint16(data))
			leaves = append(leaves, tlog.RecordHash(data[2:length]))
			data = data[length:]
		}
	}
	if int64(len(leaves)) != size {
		log.Fatalf("%d entries, not %d", len(leaves), size)
	}

	included := proofs(filepath.Join(dir, "proofs/*"), func(n int64, _ tlog.Hash, ours []tlog.Hash) {
		theirs, err := tlog.ProveRecord(size, n, reader)
		check(err)
		if !same(ours, theirs) {
			log.Fatalf("entry %d: another proof than Go's", n)
		}
		check(tlog.CheckRecord(ours, size, root, n, leaves[n]))
		for i := range ours {
			ours[i][7] ^= 1
			if tlog.CheckRecord(ours, size, root, n, leaves[n]) == nil {
				log.Fatalf("entry %d: an altered proof was accepted", n)
			}
			ours[i][7] ^= 1
		}
	})
	consistent := proofs(filepath.Join(dir, "trees/*"), func(old int64, oldRoot tlog.Hash, ours []tlog.Hash) {
		theirs, err := tlog.ProveTree(size, old, reader)
		check(err)
		if !same(ours, theirs) {
			log.Fatalf("tree of %d: another proof than Go's", old)
		}
		check(tlog.CheckTree(ours, size, root, old, oldRoot))
		oldRoot[7] ^= 1
		if tlog.CheckTree(ours, size, root, old, oldRoot) == nil {
			log.Fatalf("tree of %d: an altered root was accepted", old)
		}
	})
	fmt.Printf("go: %d entries, %d signatures, %d inclusion proofs, %d consistency proofs\n", size, len(opened.Sigs), included, consistent)
}
