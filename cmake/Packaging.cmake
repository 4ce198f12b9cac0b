# The Debian package: `./dev package`. Installing does not build everything first
# (tests are in the same build directory): build `inferd` and `inferd_man` before.
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)

find_package(Python3 COMPONENTS Interpreter)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/package/changelog.Debian @ONLY CONTENT
"inferd (@PROJECT_VERSION@-1) bookworm; urgency=medium

  * See /usr/share/doc/inferd/changelog.gz.

 -- inferd maintainers <maintainers@inferd.invalid>  Sun, 22 Nov 2026 12:00:00 +0000
")
if(Python3_FOUND AND TARGET inferd)
  add_custom_command(
    OUTPUT ${CMAKE_BINARY_DIR}/package/inferd.1.gz
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/package
    COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_SOURCE_DIR}/deploy/debian/man_page.py
            $<TARGET_FILE:inferd> > ${CMAKE_BINARY_DIR}/package/inferd.1
    COMMAND gzip -9nf ${CMAKE_BINARY_DIR}/package/inferd.1
    COMMAND gzip -9nc ${CMAKE_SOURCE_DIR}/CHANGELOG.md > ${CMAKE_BINARY_DIR}/package/changelog.gz
    COMMAND gzip -9nc ${CMAKE_BINARY_DIR}/package/changelog.Debian
            > ${CMAKE_BINARY_DIR}/package/changelog.Debian.gz
    DEPENDS inferd ${CMAKE_SOURCE_DIR}/deploy/debian/man_page.py ${CMAKE_SOURCE_DIR}/CHANGELOG.md
    VERBATIM)
  add_custom_target(inferd_man DEPENDS ${CMAKE_BINARY_DIR}/package/inferd.1.gz)
endif()

install(FILES ${CMAKE_BINARY_DIR}/package/inferd.1.gz DESTINATION share/man/man1)
install(FILES ${CMAKE_BINARY_DIR}/package/changelog.gz
        ${CMAKE_BINARY_DIR}/package/changelog.Debian.gz deploy/debian/copyright
        docs/api.md docs/configuration.md docs/deployment.md docs/models.md docs/operations.md
        docs/quantization.md docs/security.md
        DESTINATION share/doc/inferd)
install(DIRECTORY proto/inferd DESTINATION share/inferd/proto FILES_MATCHING PATTERN "*.proto")
install(FILES deploy/systemd/inferd.service DESTINATION /lib/systemd/system)
install(FILES deploy/systemd/inferd.sysusers DESTINATION lib/sysusers.d RENAME inferd.conf)
install(FILES deploy/systemd/inferd.tmpfiles DESTINATION lib/tmpfiles.d RENAME inferd.conf)
install(FILES deploy/systemd/inferd.default DESTINATION /etc/default RENAME inferd)
install(FILES deploy/debian/config.yaml DESTINATION /etc/inferd)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME inferd)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_PACKAGE_CONTACT "inferd maintainers <maintainers@inferd.invalid>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR ON) # some files go to /etc and /lib
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/package)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "inference daemon for large language models")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "inferd serves chat and text completion of Hugging Face checkpoints over gRPC
and HTTP on the CPU, with continuous batching over a paged KV cache, and
exports metrics for Prometheus.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${CMAKE_SOURCE_DIR}/deploy/debian/postinst ${CMAKE_SOURCE_DIR}/deploy/debian/prerm
  ${CMAKE_SOURCE_DIR}/deploy/debian/postrm ${CMAKE_SOURCE_DIR}/deploy/debian/conffiles)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
