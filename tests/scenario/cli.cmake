# SPDX-License-Identifier: Apache-2.0
# The program `pomai`, from outside. Included once the targets exist; runs under AddressSanitizer too.
if(TARGET pomai_cli)
    find_package(Python3 COMPONENTS Interpreter)
endif()
if(TARGET pomai_cli AND Python3_FOUND)
    set(share "")
    if(POMAI_SANITIZE)
        set(share --share 3)
    endif()
    add_test(NAME ${POMAI_TEST_PREFIX}scenario.cli COMMAND ${launcher} ${Python3_EXECUTABLE}
        ${CMAKE_SOURCE_DIR}/tests/scenario/test_cli.py $<TARGET_FILE:pomai_cli>
        --completion ${CMAKE_SOURCE_DIR}/tools/pomai.bash-completion ${share})
    set_tests_properties(${POMAI_TEST_PREFIX}scenario.cli PROPERTIES TIMEOUT 300 LABELS scenario
        ENVIRONMENT "${test_environment}")
endif()
