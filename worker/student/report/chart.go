package report

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chart is a plot as SVG.
type chart struct {
	Title string
	SVG   template.HTML
}

// colours of the networks, told apart by the colour-blind (Okabe and Ito 2008).
var colours = []color.Color{
	color.RGBA{0, 114, 178, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{0, 158, 115, 255}, color.RGBA{204, 121, 167, 255},
}

const (
	width  = 12 * vg.Centimeter
	height = 8 * vg.Centimeter
	margin = 12 // for labels that end at the axes' ends
)

// kind says how a chart looks.
type kind int

const (
	rising kind = iota
	falling
	logarithmic // rising, with a logarithmic x axis
)

// strengths are the ticks of a falling chart.
var strengths = plot.ConstantTicks{{Value: 0, Label: "none"}, {Value: 1, Label: "1"}, {Value: 2, Label: "2"}, {Value: 3, Label: "3"}, {Value: 4, Label: "4"}, {Value: 5, Label: "5"}}

// series is a network's line in a chart.
type series struct {
	name   string
	points plotter.XYs
}

func (r *Report) charts() ([]chart, error) {
	var out []chart
	add := func(title, x, y string, k kind, lines []series) error {
		svg, err := drawn(x, y, k, lines)
		out = append(out, chart{title, svg})
		return err
	}
	neighbours := r.each(func(n Network) (xy plotter.XYs) {
		for _, k := range n.Measures.KNN {
			xy = append(xy, plotter.XY{X: float64(k.K), Y: 100 * k.Top1})
		}
		return xy
	})
	if err := add("Nearest neighbours", "k", "top-1, %", rising, neighbours); err != nil {
		return nil, err
	}
	verified := r.each(func(n Network) (xy plotter.XYs) {
		for _, p := range n.Measures.Verification.Curve {
			xy = append(xy, plotter.XY{X: p[0], Y: 100 * p[1]})
		}
		return xy
	})
	if err := add("Verification of pairs", "false accept rate", "accepted, %", logarithmic, verified); err != nil {
		return nil, err
	}
	for _, kind := range r.kinds() {
		lines := r.each(func(n Network) plotter.XYs {
			xy := plotter.XYs{{X: 0, Y: 100 * n.Measures.Probe.Top1}}
			for _, c := range n.Measures.Robustness {
				if c.Kind == kind {
					xy = append(xy, plotter.XY{X: float64(c.Strength), Y: 100 * c.Probe})
				}
			}
			return xy
		})
		if err := add("Linear probe under "+kind, "strength", "top-1, %", falling, lines); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// each is a series for each network.
func (r *Report) each(points func(n Network) plotter.XYs) (out []series) {
	for _, n := range r.Networks {
		out = append(out, series{n.Role, points(n)})
	}
	return out
}

func drawn(x, y string, k kind, lines []series) (template.HTML, error) {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = x, y
	p.Legend.Top = k == falling // the corner where no line is
	p.Add(plotter.NewGrid())
	for i, s := range lines {
		if len(s.points) == 0 {
			continue
		}
		line, points, err := plotter.NewLinePoints(s.points)
		if err != nil {
			return "", fmt.Errorf("plot %s: %w", s.name, err)
		}
		line.Color, line.Width = colours[i%len(colours)], vg.Points(1.6)
		points.Color, points.Shape, points.Radius = line.Color, draw.CircleGlyph{}, vg.Points(2)
		p.Add(line)
		if k != logarithmic {
			p.Add(points)
		}
		p.Legend.Add(s.name, line)
	}
	if k == falling {
		p.X.Tick.Marker = strengths
	}
	if k == logarithmic && p.X.Min > 0 && p.X.Max > p.X.Min {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	canvas := vgsvg.New(width, height)
	p.Draw(draw.Crop(draw.New(canvas), 0, -margin, 0, -margin))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", err
	}
	svg := b.Bytes()
	return template.HTML(svg[max(0, bytes.Index(svg, []byte("<svg"))):]), nil // without the XML prologue
}
