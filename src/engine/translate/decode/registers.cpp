// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/decode/registers.hpp"

namespace undercroft::translate {

int gpr_number(ZydisRegister reg) {
    switch (ZydisRegisterGetClass(reg)) {
        case ZYDIS_REGCLASS_GPR16:
        case ZYDIS_REGCLASS_GPR32:
        case ZYDIS_REGCLASS_GPR64: return ZydisRegisterGetId(reg);
        case ZYDIS_REGCLASS_GPR8: {
            // al cl dl bl, then ah ch dh bh, then spl bpl sil dil, then r8b..
            int id = ZydisRegisterGetId(reg);
            return id < 4 ? id : id - 4;
        }
        default: return -1;
    }
}

}  // namespace undercroft::translate
