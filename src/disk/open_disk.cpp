// SPDX-License-Identifier: Apache-2.0
#include "disk/open_disk.hpp"

#include "disk/qcow2_disk.hpp"
#include "disk/raw_disk.hpp"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

constexpr unsigned longest_chain = 32;  // images that stand on each other

// How deep below the disk an image is, and who is told of those that are only read, or null.
struct Place {
    unsigned depth = 0;
    Images* images = nullptr;
};

Result<std::unique_ptr<Disk>> open_format(const std::string& path, DiskAccess access,
                                          std::optional<DiskFormat> format, Place place);

std::optional<DiskFormat> format_named(const std::string& name) {
    if (name == "raw") return DiskFormat::Raw;
    if (name == "qcow2") return DiskFormat::Qcow2;
    return std::nullopt;
}

const char* name_of(DiskFormat format) { return format == DiskFormat::Raw ? "raw" : "qcow2"; }

DiskFormat format_of(const std::string& path, std::optional<DiskFormat> said) {
    return said.value_or(path.ends_with(".qcow2") ? DiskFormat::Qcow2 : DiskFormat::Raw);
}

Result<std::vector<std::byte>> beginning(HostFile& file, std::uint64_t most) {
    if (file.size() == 0) return Error{"empty"};
    std::vector<std::byte> bytes(std::min(file.size(), most));
    if (file.read_bytes(0, bytes) != DiskStatus::Ok) return Error{"its beginning cannot be read"};
    return bytes;
}

Result<Qcow2Header> read_header(HostFile& file) {
    auto bytes = beginning(file, Qcow2Header::parsed_bytes);
    if (!bytes) return bytes.error();
    return Qcow2Header::parse(*bytes);
}

Result<std::unique_ptr<Disk>> open_backing(const std::string& image, const Qcow2Header& header, Place place) {
    if (header.backing_file.empty()) return std::unique_ptr<Disk>{};
    if (place.depth >= longest_chain) return Error{"more than 32 images that stand on each other"};
    std::string name = header.backing_file;
    if (name.starts_with("file:")) name.erase(0, 5);
    if (name.find('\0') != std::string::npos || name.starts_with("json:") ||
        name.find("://") != std::string::npos)
        return Error{"backing file '" + header.backing_file + "': only files are supported"};
    auto format = format_named(header.backing_format);
    if (!format && !header.backing_format.empty())
        return Error{"backing file '" + name + "': of format '" + header.backing_format +
                     "', not raw or qcow2"};
    fs::path path = fs::path{image}.parent_path() / name;
    return open_format(path.string(), DiskAccess::ReadOnly, format, {place.depth + 1, place.images});
}

Result<std::unique_ptr<Disk>> open_qcow2(std::unique_ptr<HostFile> file, DiskAccess access, Place place) {
    auto header = read_header(*file);
    if (!header) return header.error();
    auto backing = open_backing(file->name(), *header, place);
    if (!backing) return backing.error();
    return Qcow2Disk::open(std::move(file), *std::move(header), access, *std::move(backing));
}

Result<std::unique_ptr<Disk>> open_raw(std::unique_ptr<HostFile> file, DiskAccess access, bool was_said) {
    auto bytes = beginning(*file, sizeof Qcow2Header::magic);
    if (!bytes) return bytes.error();
    if (!was_said && looks_like_qcow2(*bytes))
        return Error{"looks like a qcow2 image: say 'format=qcow2', or 'format=raw' if it is none"};
    return RawDisk::open(std::move(file), access);
}

Result<std::unique_ptr<Disk>> open_format(const std::string& path, DiskAccess access,
                                          std::optional<DiskFormat> format, Place place) {
    std::string name = "disk '" + path + "'";
    auto file = HostFile::open(path, access);
    if (!file) return std::move(file.error()).in(name);
    if (access == DiskAccess::ReadOnly && place.images != nullptr) (*file)->join(*place.images);
    auto disk = format_of(path, format) == DiskFormat::Qcow2
                    ? open_qcow2(*std::move(file), access, place)
                    : open_raw(*std::move(file), access, format.has_value());
    if (!disk) return std::move(disk.error()).in(name);
    return disk;
}

// A new one if there is none. Errors are reasons alone.
Result<std::unique_ptr<Disk>> open_overlay_file(const DiskChoice& choice, std::unique_ptr<Disk> base) {
    const std::string& path = choice.overlay->path;
    std::error_code error;
    std::unique_ptr<HostFile> file;
    Qcow2Header header;
    if (!fs::exists(path, error) && !error) {
        auto created = HostFile::create(path);
        if (!created) return created.error();
        file = *std::move(created);
        const char* format = name_of(format_of(choice.path, choice.format));
        auto made = Qcow2Disk::create(*file, base->size(), fs::absolute(choice.path, error), format);
        if (!made) return made.error();
        header = *std::move(made);
    } else {
        auto opened = HostFile::open(path, DiskAccess::ReadWrite);
        if (!opened) return opened.error();
        file = *std::move(opened);
        auto parsed = read_header(*file);
        if (!parsed) return parsed.error();
        header = *std::move(parsed);
        if (!fs::equivalent(fs::path{path}.parent_path() / header.backing_file, choice.path, error))
            return Error{"an overlay of '" + header.backing_file + "', not of '" + choice.path + "'"};
    }
    return Qcow2Disk::open(std::move(file), std::move(header), DiskAccess::ReadWrite, std::move(base));
}

Result<std::unique_ptr<Disk>> open_unseen_overlay(std::unique_ptr<Disk> base) {
    auto file = HostFile::temporary();
    if (!file) return file.error();
    auto header = Qcow2Disk::create(**file, base->size());
    if (!header) return header.error();
    return Qcow2Disk::open(*std::move(file), *std::move(header), DiskAccess::ReadWrite, std::move(base));
}

}  // namespace

Result<std::unique_ptr<Disk>> open_disk(const DiskChoice& choice, Images* images) {
    Place place{.images = images};
    if (!choice.overlay) return open_format(choice.path, choice.access, choice.format, place);
    auto base = open_format(choice.path, DiskAccess::ReadOnly, choice.format, place);
    if (!base) return base.error();
    bool is_seen = !choice.overlay->path.empty();
    auto disk = is_seen ? open_overlay_file(choice, *std::move(base)) : open_unseen_overlay(*std::move(base));
    if (!disk)
        return std::move(disk.error()).in("disk '" + (is_seen ? choice.overlay->path : choice.path) + "'");
    return disk;
}

}  // namespace undercroft
