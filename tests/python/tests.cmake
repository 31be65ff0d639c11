# SPDX-License-Identifier: Apache-2.0
# tests/python/test_<name>.py is the test python.<name>, run by build/venv, which ./dev makes. With AddressSanitizer
# only what reads and copies most: an interpreter is slow in it, and leaks on purpose.
set(POMAI_VENV ${CMAKE_SOURCE_DIR}/build/venv CACHE PATH "Virtual environment with pytest, hypothesis, mypy and NumPy")
set(preload "")
if(POMAI_SANITIZE)
    execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=libasan.so OUTPUT_VARIABLE preload
        OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT IS_ABSOLUTE "${preload}")
        return()
    endif()
endif()
file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/test_*.py)
foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME_WE)
    string(REGEX REPLACE "^test_" "" name ${name})
    if(POMAI_SANITIZE AND NOT name MATCHES "^(columns|errors|input|model|threads|zero_copy)$")
        continue()
    endif()
    set(test ${POMAI_TEST_PREFIX}python.${name})
    add_test(NAME ${test} COMMAND ${launcher} ${CMAKE_CURRENT_LIST_DIR}/run.sh ${POMAI_VENV}/bin/python
        ${CMAKE_BINARY_DIR}/python ${source} ${preload})
    set_tests_properties(${test} PROPERTIES TIMEOUT 300 LABELS python SKIP_RETURN_CODE 77
        ENVIRONMENT "ASAN_OPTIONS=detect_leaks=0;UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1")
endforeach()
