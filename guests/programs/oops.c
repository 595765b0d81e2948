// SPDX-License-Identifier: Apache-2.0
// oops MODULE.ko NAME wild|noncanonical|invalid: loads a stock kernel module whose init function has been
// overwritten with something that no kernel code may do. Linux must report it ("Oops"), end this process, and
// go on. The module gets the new NAME (as long as the old one), so that it can be done more than once.
//
// The module's signature is cut off (an unsigned module only taints the kernel), and relocations that would
// touch the new code are disarmed.

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char* image;
static size_t image_size;

static void fail(const char* what) {
    fprintf(stderr, "oops: %s\n", what);
    exit(2);
}

static void load(const char* path) {
    const int file = open(path, O_RDONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0) fail("cannot open the module");
    image_size = (size_t)status.st_size;
    image = malloc(image_size);
    if (image == NULL || read(file, image, image_size) != (ssize_t)image_size) fail("cannot read the module");
    static const char magic[] = "~Module signature appended~\n";
    const size_t length = sizeof magic - 1;
    if (memcmp(image + image_size - length, magic, length) == 0) {
        const unsigned char* size = (unsigned char*)image + image_size - length - 4;  // big endian
        image_size -=
            length + 12 + ((size_t)size[0] << 24 | (size_t)size[1] << 16 | (size_t)size[2] << 8 | size[3]);
    }
}

static Elf64_Shdr* sections(void) { return (Elf64_Shdr*)(image + ((Elf64_Ehdr*)image)->e_shoff); }

static Elf64_Shdr* section_named(const char* name) {
    const Elf64_Ehdr* header = (Elf64_Ehdr*)image;
    const char* names = image + sections()[header->e_shstrndx].sh_offset;
    for (int i = 0; i < header->e_shnum; i++)
        if (strcmp(names + sections()[i].sh_name, name) == 0) return &sections()[i];
    fail(name);
    return NULL;
}

static const Elf64_Sym* init_function(void) {
    const Elf64_Shdr* table = section_named(".symtab");
    const char* names = image + section_named(".strtab")->sh_offset;
    const Elf64_Sym* symbols = (Elf64_Sym*)(image + table->sh_offset);
    for (size_t i = 0; i < table->sh_size / sizeof *symbols; i++)
        if (strcmp(names + symbols[i].st_name, "init_module") == 0) return &symbols[i];
    fail("no init_module");
    return NULL;
}

static void overwrite(const unsigned char* code, size_t size) {
    const Elf64_Sym* init = init_function();
    char* text = image + sections()[init->st_shndx].sh_offset;
    size_t start = init->st_value;
    if ((unsigned char)text[start] == 0xe8) start += 5;  // the call to __fentry__ stays: ftrace checks it
    memcpy(text + start, code, size);
    const Elf64_Shdr* table = section_named(".rela.init.text");
    Elf64_Rela* relocations = (Elf64_Rela*)(image + table->sh_offset);
    for (size_t i = 0; i < table->sh_size / sizeof *relocations; i++) {
        Elf64_Rela* relocation = &relocations[i];
        const size_t width = ELF64_R_TYPE(relocation->r_info) == R_X86_64_64 ? 8 : 4;
        if (relocation->r_offset + width > start && relocation->r_offset < start + size)
            relocation->r_info = R_X86_64_NONE;
    }
}

static void rename_module(const char* path, const char* name) {
    const char* base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    const size_t length = strcspn(base, ".");
    if (strlen(name) != length) fail("the new name must be as long as the old one");
    const Elf64_Shdr* section = section_named(".gnu.linkonce.this_module");
    char* found = memmem(image + section->sh_offset, section->sh_size, base, length);
    if (found == NULL) fail("the module's name is not where it should be");
    memcpy(found, name, length);
}

int main(int count, char** arguments) {
    static const unsigned char wild[] = {0x31, 0xc0, 0x89, 0x00};  // xor eax, eax; mov [rax], eax
    static const unsigned char noncanonical[] = {
        0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0xad, 0xde, 0x8b, 0x00};  // mov rax, ...; mov eax, [rax]
    static const unsigned char invalid[] = {0x0f, 0x0b};        // ud2
    if (count != 4) fail("expected: oops MODULE.ko NAME wild|noncanonical|invalid");
    load(arguments[1]);
    rename_module(arguments[1], arguments[2]);
    const char* kind = arguments[3];
    if (strcmp(kind, "wild") == 0) overwrite(wild, sizeof wild);
    if (strcmp(kind, "noncanonical") == 0) overwrite(noncanonical, sizeof noncanonical);
    if (strcmp(kind, "invalid") == 0) overwrite(invalid, sizeof invalid);
    const long result = syscall(SYS_init_module, image, image_size, "");
    perror("oops: init_module came back");
    return result == 0 ? 3 : 1;
}
