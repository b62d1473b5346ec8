package augment

import (
	"bytes"
	"encoding/binary"
)

// orientation returns the EXIF orientation of a file, 1..8, and 1 when it has none that can be read. EXIF 2.32 is a
// TIFF directory; the orientation is its tag 0x0112. A TIFF file is one itself, the other formats carry one.
func (f format) orientation(data []byte) int {
	switch f.name {
	case "JPEG":
		return exifOrientation(jpegEXIF(data))
	case "PNG":
		return exifOrientation(pngEXIF(data))
	case "WebP":
		return exifOrientation(webpEXIF(data))
	case "TIFF":
		return exifOrientation(data)
	}
	return 1
}

// jpegEXIF is an APP1 segment before the pixels that starts with exifPrefix.
func jpegEXIF(jpeg []byte) []byte {
	for data := jpeg[2:]; len(data) >= 4 && data[0] == 0xff; {
		marker, length := data[1], int(binary.BigEndian.Uint16(data[2:]))
		switch {
		case marker == 0xff: // a fill byte
			data = data[1:]
			continue
		case marker == 0xda || length < 2 || 2+length > len(data): // pixels follow, or nothing whole
			return nil
		}
		if exif, ok := bytes.CutPrefix(data[4:2+length], exifPrefix); ok && marker == 0xe1 {
			return exif
		}
		data = data[2+length:]
	}
	return nil
}

var exifPrefix = []byte("Exif\x00\x00")

// pngEXIF is the chunk eXIf: length, type, data, checksum.
func pngEXIF(png []byte) []byte {
	for data := png[8:]; len(data) >= 12; {
		length := uint64(binary.BigEndian.Uint32(data))
		if length+12 > uint64(len(data)) {
			return nil
		}
		if string(data[4:8]) == "eXIf" {
			return data[8 : 8+length]
		}
		data = data[12+length:]
	}
	return nil
}

// webpEXIF is the chunk EXIF: type, length, data, a byte where the length is odd.
func webpEXIF(webp []byte) []byte {
	for data := webp[12:]; len(data) >= 8; {
		length := uint64(binary.LittleEndian.Uint32(data[4:]))
		if length+8 > uint64(len(data)) {
			return nil
		}
		if string(data[:4]) == "EXIF" {
			return bytes.TrimPrefix(data[8:8+length], exifPrefix)
		}
		data = data[min(8+length+length%2, uint64(len(data))):]
	}
	return nil
}

func exifOrientation(exif []byte) int {
	if len(exif) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.LittleEndian
	if exif[0] == 'M' {
		order = binary.BigEndian
	}
	offset := uint64(order.Uint32(exif[4:]))
	if offset+2 > uint64(len(exif)) {
		return 1
	}
	entries := exif[offset+2:]
	for range order.Uint16(exif[offset:]) {
		if len(entries) < 12 {
			return 1
		}
		const tag, short = 0x0112, 3
		if order.Uint16(entries) == tag && order.Uint16(entries[2:]) == short {
			if v := order.Uint16(entries[8:]); v >= 1 && v <= 8 {
				return int(v)
			}
			return 1
		}
		entries = entries[12:]
	}
	return 1
}

// upright returns the image as it is meant to be seen: mirrored and turned by an EXIF orientation of 1..8.
func (m *Image) upright(orientation int) *Image {
	if orientation == 1 {
		return m
	}
	out := &Image{m.Width, m.Height, m.Channels, make([]uint8, len(m.Pix))}
	if orientation >= 5 {
		out.Width, out.Height = m.Height, m.Width
	}
	i, c := 0, m.Channels
	for y := range out.Height {
		for x := range out.Width {
			sx, sy := m.source(orientation, x, y)
			copy(out.Pix[i:i+c], m.Pix[(sy*m.Width+sx)*c:])
			i += c
		}
	}
	return out
}

// source is the stored pixel that stands at (x, y) of the upright image.
func (m *Image) source(orientation, x, y int) (sx, sy int) {
	right, bottom := m.Width-1, m.Height-1
	switch orientation {
	case 2: // mirrored
		return right - x, y
	case 3: // upside down
		return right - x, bottom - y
	case 4: // upside down and mirrored
		return x, bottom - y
	case 5: // rows are columns
		return y, x
	case 6: // turned counterclockwise
		return y, bottom - x
	case 7: // rows are columns, upside down
		return right - y, bottom - x
	case 8: // turned clockwise
		return right - y, x
	}
	return x, y
}
