// SPDX-License-Identifier: Apache-2.0
// A bar for us and one for the faster of the QEMUs, per row: times as long as native, on a logarithmic scale.
// The boot, which nothing native compares to, is in the caption.

#include "report.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace undercroft::bench {
namespace {

constexpr double left = 230, plot = 560, right = 70, top = 100, row_height = 26, bar = 9;
constexpr double least = 0.1;

struct Bars {
    std::string title;
    double ours, qemu, goal;  // times native
};

std::vector<Bars> bars_of(const Results& results) {
    std::vector<Bars> all;
    for (const RowResult& row : results.rows) {
        if (row.row->command.empty()) continue;
        Verdict ours = verdict(results, row);
        if (std::isnan(ours.times_native)) continue;
        all.push_back({std::string{row.row->title}, ours.times_native, ours.times_native * ours.over_qemu,
                       row.row->goal ? row.row->goal->at_most : missing});
    }
    return all;
}

class Scale {
public:
    explicit Scale(double most) : most_{most} {}
    double x(double value) const {
        double share = std::log(std::clamp(value, least, most_) / least) / std::log(most_ / least);
        return left + plot * share;
    }

private:
    double most_;
};

std::string text(double x, double y, const char* anchor, const std::string& words, const char* more = "") {
    return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y, anchor, more,
                       words);
}

std::string bar_from_one(const Scale& scale, double y, double value, const char* colour) {
    if (std::isnan(value)) return "";
    double one = scale.x(1), end = scale.x(value);
    std::string rectangle =
        fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" fill=\"{}\"/>\n",
                    std::min(one, end), y, std::max(std::abs(end - one), 1.0), bar, colour);
    bool shorter = end < one;
    return rectangle + text(shorter ? end - 4 : end + 4, y + bar - 1, shorter ? "end" : "start",
                            three_digits(value), " font-size=\"9\"");
}

std::string grid(const Scale& scale, double most, double bottom) {
    std::string lines;
    for (double value = least; value <= most * 1.001; value *= 10) {
        double x = scale.x(value);
        lines += fmt::format("<line x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\" stroke=\"{3}\"/>\n",
                             x, top - 6, bottom, std::abs(value - 1) < 0.01 ? "#333" : "#ddd");
        lines += text(x, top - 10, "middle", fmt::format("{:g} ×", value), " fill=\"#666\"");
    }
    return lines;
}

std::string caption(const Results& results) {
    auto line = [](double y, const std::string& words) {
        return text(12, y, "start", words, " fill=\"#444\"");
    };
    std::string lines =
        line(44,
             "Times as long as native. Green: undercroft. Grey: the faster of the QEMUs (TCG). "
             "Red mark: our goal.");
    double mean = mean_over_qemu(results);
    if (!std::isnan(mean))
        lines += line(62, fmt::format("Geometric mean: {} times faster than QEMU.", three_digits(mean)));
    return lines;
}

}  // namespace

std::string svg(const Results& results) {
    std::vector<Bars> all = bars_of(results);
    double most = 10;
    for (const Bars& bars : all) {
        double longest = std::fmax(bars.ours, bars.qemu);
        while (most < longest) most *= 10;
    }
    Scale scale{most};
    double bottom = top + row_height * static_cast<double>(all.size());
    double whole_width = left + plot + right;
    std::string picture = fmt::format(
        R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" )"
        R"(font-family="sans-serif" font-size="12">)"
        "\n"
        R"(<rect width="100%" height="100%" fill="#fff"/>)"
        "\n",
        whole_width, bottom + 16);
    picture += text(12, 24, "start", "Programs in a guest", R"( font-size="16" font-weight="bold")");
    picture += caption(results);
    picture += grid(scale, most, bottom);
    double y = top;
    for (const Bars& bars : all) {
        picture += text(left - 10, y + bar + 4, "end", bars.title);
        picture += bar_from_one(scale, y + 1, bars.ours, "#2a7f4f");
        picture += bar_from_one(scale, y + 2 + bar, bars.qemu, "#9a9a9a");
        if (!std::isnan(bars.goal)) {
            picture += fmt::format(
                "<line x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" stroke=\"#c0392b\" "
                "stroke-width=\"2\"/>\n",
                scale.x(bars.goal), y - 1, y + bar + 3);
        }
        y += row_height;
    }
    return picture + "</svg>\n";
}

}  // namespace undercroft::bench
